// A directory made by the converter, as the engine wants it: its manifest and its configuration.
// It knows nothing of sessions; whether the files are whole is the converter's own check.

import type { Qwen3VlConfig } from "../checkpoint/config.ts";
import { readModelSettings } from "../checkpoint/open-checkpoint.ts";
import { type PackageManifest, readManifest } from "../convert/manifest.ts";

/** What is known of a package without opening its graphs. */
export interface OnnxPackage {
  readonly directory: string;
  readonly manifest: PackageManifest;
  readonly config: Qwen3VlConfig;
}

/** Reads manifest and configuration of a package. @throws ModelLoadError */
export async function openPackage(directory: string): Promise<OnnxPackage> {
  const manifest = await readManifest(directory);
  const { config } = await readModelSettings(directory);
  return { directory, manifest, config };
}

/** Bytes of the weights that lie on a device. */
export function weightBytes({ manifest }: OnnxPackage): number {
  const files = [manifest.visionEncoder.dataFile, manifest.decoder.dataFile];
  return manifest.outputs
    .filter(({ file }) => files.includes(file))
    .reduce((sum, { bytes }) => sum + bytes, 0);
}
