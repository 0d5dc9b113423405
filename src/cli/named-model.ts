// What `--model` means: a directory, or the name of a pulled model. In: a text, and what it is for. Out: a directory, or an
// error that names the command that helps. Asks on a terminal, never elsewhere.

import { stat } from "node:fs/promises";
import { mayHold } from "../vlm/foreign/foreign-package.ts";
import { packageDevice } from "../vlm/hub/convert-pulled.ts";
import { modelName } from "../vlm/hub/model-name.ts";
import { ModelStore, type StoredModel } from "../vlm/hub/model-store.ts";
import { PullError } from "../vlm/index.ts";
import { askToPull } from "./ask-to-pull.ts";
import type { Settings } from "./settings.ts";

type Wanted = Pick<Settings, "model" | "precision" | "device"> & {
  /** The files of the hub, as for adapters, which are merged into nothing else. @default false */
  readonly needsCheckpoint?: boolean;
};

/** @returns a directory; a text that is no name of a model stays as it is: whoever loads it says what is wrong */
export async function findNamedModel(wanted: Wanted): Promise<string> {
  const name = await nameIn(wanted.model);
  if (name === undefined) return wanted.model;
  return placeOf(await new ModelStore().get(name), wanted);
}

/** The same, and where it was not pulled yet, offers to do so. */
export async function findOrPullModel(
  wanted: Wanted,
  signal: AbortSignal,
  ask: Ask = askToPull,
): Promise<string> {
  try {
    return await findNamedModel(wanted);
  } catch (error) {
    const name = await nameIn(wanted.model);
    const isMissing = error instanceof PullError && error.code === "not-pulled";
    if (!isMissing || name === undefined || !(await ask(name, signal))) throw error;
    const { pull } = await import("./pull.ts");
    const keepCheckpoint = wanted.needsCheckpoint ?? false;
    const { path, checkpointDir } = await pull(
      { ...wanted, model: name, keepCheckpoint, isStarting: true },
      signal,
    );
    return keepCheckpoint ? (checkpointDir ?? path) : path;
  }
}

/** The name of a model, where that is meant: a directory of that name goes first. */
export async function nameIn(text: string): Promise<string | undefined> {
  const found = await stat(text).catch(() => undefined);
  return found === undefined ? modelName(text) : undefined;
}

/** @throws PullError `not-pulled` when it is there in another form only */
async function placeOf(
  model: StoredModel,
  { precision, device, needsCheckpoint = false }: Wanted,
): Promise<string> {
  const wanted = await packageDevice({ device, precision });
  const fitting = model.packages.find(
    ({ manifest }) =>
      manifest.device === wanted &&
      manifest.precision.decoder === (precision ?? manifest.precision.decoder),
  );
  const made = needsCheckpoint ? undefined : fitting?.dir;
  const place = model.record && (made ?? model.checkpoint);
  if (place !== undefined) return place;
  const { foreign } = model;
  // What else cannot be had of such a package, whoever loads it says.
  if (foreign && (!model.record || !precision || mayHold(foreign, precision))) {
    return foreign.directory;
  }
  const options = [
    precision === undefined ? "" : ` --precision ${precision}`,
    device === "cpu" ? "" : ` --device ${device}`,
    needsCheckpoint ? " --keep-checkpoint" : "",
  ].join("");
  throw new PullError(
    "not-pulled",
    `${model.name} was not pulled ${model.record ? "in that form" : "to its end"}: napcat-vlm pull ${model.name}${options}`,
  );
}

/** Is it to be fetched now? */
export type Ask = (name: string, signal: AbortSignal) => Promise<boolean>;
