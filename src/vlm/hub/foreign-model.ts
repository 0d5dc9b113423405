// A model whose repository holds graphs that another program made. In: its graphs, and what is wanted. Out: which files of
// them are fetched, or whether they are here. Nothing of it is converted; whoever loads it chooses by the same rule.

import { readModelSettings } from "../checkpoint/open-checkpoint.ts";
import { ModelLoadError } from "../errors.ts";
import { type ForeignFiles, GRAPH_ROLES } from "../foreign/foreign-files.ts";
import { chooseForeignGraphs, expectForeignChoices } from "../foreign/foreign-package.ts";
import type { ResolvedPullOptions } from "./pull-options.ts";

type Wanted = Pick<ResolvedPullOptions, "device" | "precision" | "visionPrecision">;

/**
 * Paths of what one load needs. Data goes before its graph: a graph that is there has all of it.
 *
 * @param files with the settings in their directory
 * @throws ModelLoadError for settings that do not fit, and for what cannot be had of such a package
 */
export async function chooseGraphFiles(files: ForeignFiles, wanted: Wanted): Promise<string[]> {
  expectForeignChoices(files, choicesOf(wanted));
  await readModelSettings(files.directory);
  const graphs = await chooseForeignGraphs(files, choicesOf(wanted));
  return GRAPH_ROLES.flatMap((role) => {
    const { file, files: all } = graphs[role];
    return [...all.filter((path) => path !== file), file];
  });
}

/** Is there one graph for each part as it is wanted? */
export async function hasGraphs(files: ForeignFiles, wanted: Wanted): Promise<boolean> {
  try {
    expectForeignChoices(files, choicesOf(wanted));
    await chooseForeignGraphs(files, choicesOf(wanted));
    return true;
  } catch (error) {
    if (error instanceof ModelLoadError) return false;
    throw error;
  }
}

function choicesOf({ device, precision, visionPrecision }: Wanted) {
  return { device: device === "auto" ? "cpu" : device, precision, visionPrecision };
}
