// A directory made by the converter, as the engine wants it: its manifest and its configuration.
// It knows nothing of sessions; whether the files are whole is the converter's own check.

import type { Qwen3VlConfig } from "../checkpoint/config.ts";
import { readModelSettings } from "../checkpoint/open-checkpoint.ts";
import { CACHE_FORMATS, type CacheFormat } from "../convert/cached-attention.ts";
import { type PackageManifest, readManifest } from "../convert/manifest.ts";
import type { PackagePrecision } from "../convert/package-graphs.ts";

/** What is known of any package without opening its graphs. */
export interface ModelPackage {
  readonly directory: string;
  /** Of the model, for people. */
  readonly name: string;
  readonly config: Qwen3VlConfig;
  /** Sentences about what its settings left open, and what was assumed. */
  readonly assumptions: readonly string[];
  /** Of packages that other programs made: the nearest of ours, for estimates. */
  readonly precision: PackagePrecision;
  /** Bytes of the weights that lie on a device. */
  readonly weightBytes: number;
  /** How often the keys and values of a context that is in use are there. @default 1 */
  readonly contextCopies?: number;
  /** In which formats it can keep keys and values on a CPU. @default fp32 alone */
  readonly cacheFormats?: readonly CacheFormat[];
}

/** A package of our own converter. */
export interface OnnxPackage extends ModelPackage {
  readonly manifest: PackageManifest;
}

/** Reads manifest and configuration of a package. @throws ModelLoadError */
export async function openPackage(directory: string): Promise<OnnxPackage> {
  const manifest = await readManifest(directory);
  const { config } = await readModelSettings(directory);
  const { precision, assumptions, visionEncoder, decoder, outputs } = manifest;
  const files = [visionEncoder.dataFile, decoder.dataFile];
  const weightBytes = outputs
    .filter(({ file }) => files.includes(file))
    .reduce((sum, { bytes }) => sum + bytes, 0);
  const { name } = manifest.source;
  const cacheFormats = CACHE_FORMATS.filter(
    (format) => format === "fp32" || manifest.cacheDecoders[format] !== undefined,
  );
  const known = { name, config, assumptions, precision, weightBytes, cacheFormats };
  return { directory, manifest, ...known };
}

/** Bytes of the weights of the decoder alone. */
export function decoderBytes({ manifest }: OnnxPackage): number {
  return manifest.outputs.find(({ file }) => file === manifest.decoder.dataFile)?.bytes ?? 0;
}
