// A directory made by the converter, as the engine wants it: its manifest and its configuration.
// It knows nothing of sessions; whether the files are whole is the converter's own check.

import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { parseConfig, type Qwen3VlConfig } from "../checkpoint/config.ts";
import { type PackageManifest, readManifest } from "../convert/manifest.ts";
import { ModelLoadError } from "../errors.ts";

/** What is known of a package without opening its graphs. */
export interface OnnxPackage {
  readonly directory: string;
  readonly manifest: PackageManifest;
  readonly config: Qwen3VlConfig;
}

/** Reads manifest and configuration of a package. @throws ModelLoadError */
export async function openPackage(directory: string): Promise<OnnxPackage> {
  const manifest = await readManifest(directory);
  let json: unknown;
  try {
    json = JSON.parse(await readFile(join(directory, "config.json"), "utf8"));
  } catch (cause) {
    throw new ModelLoadError(
      "model-corrupt",
      `The config.json of the ONNX package ${directory} cannot be read. Convert the checkpoint again.`,
      { cause, modelDir: directory },
    );
  }
  return { directory, manifest, config: parseConfig(json, "config.json") };
}
