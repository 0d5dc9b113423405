// Checkpoint in, ONNX package out: two graphs with their weights, the embedding table, settings and tokenizer
// files, and a manifest. Streams tensor by tensor; the same checkpoint gives the same bytes; a run that ends
// early leaves nothing that loads.

import { join } from "node:path";
import { disk } from "../../disk.ts";
import { DiskError } from "../../disk-error.ts";
import { withAdapters } from "../checkpoint/adapters.ts";
import { type Checkpoint, openCheckpoint } from "../checkpoint/open-checkpoint.ts";
import { Conversion } from "./conversion.ts";
import { ConversionPlan, SMALL_FILES_BYTES } from "./conversion-plan.ts";
import { type ConvertOptions, type PackageFormats, packageFormats } from "./convert-options.ts";
import { withDiskTrouble, withNeededBytes } from "./disk-trouble.ts";
import {
  isMarkedAsPackage,
  MANIFEST_FILE,
  type PackageManifest,
  readManifest,
} from "./manifest.ts";
import { SourceFiles } from "./source-files.ts";
import { StagingDirectory } from "./staging.ts";

/**
 * Converts a checkpoint.
 *
 * @throws ModelLoadError when the checkpoint cannot be used, or the disk is full (`disk-full`, before anything is
 *   written where the system tells how much is free), read-only (`not-writable`) or the package held by another
 *   program for most of a minute (`files-held`); TypeError for wrong options; the signal's own reason when aborted
 */
export async function convertCheckpoint(options: ConvertOptions): Promise<PackageManifest> {
  const formats = packageFormats(options);
  options.signal?.throwIfAborted();
  return await withDiskTrouble(options.checkpointDir, () => convertTo(formats, options));
}

async function convertTo(
  formats: PackageFormats,
  options: ConvertOptions,
): Promise<PackageManifest> {
  const base = await openCheckpoint(options.checkpointDir);
  let checkpoint = base;
  try {
    checkpoint = await withAdapters(base, options.adapters ?? []);
    const staging = await StagingDirectory.create(options.outputDir, {
      assertReplaceable,
      keyFile: MANIFEST_FILE,
    });
    try {
      await convertInto(checkpoint, staging.dir, formats, options);
      const manifest = await readManifest(staging.dir);
      await staging.publish(options.signal);
      await untilReadable(options.outputDir, manifest);
      return manifest;
    } finally {
      await staging.discard();
    }
  } finally {
    await checkpoint.close();
  }
}

async function convertInto(
  checkpoint: Checkpoint,
  dir: string,
  formats: PackageFormats,
  options: ConvertOptions,
): Promise<void> {
  const plan = new ConversionPlan(checkpoint, formats, options.int8Weights);
  const source = await SourceFiles.of(checkpoint);
  const neededBytes = plan.outputBytes() + source.settingsBytes + SMALL_FILES_BYTES;
  await disk.assertRoom(dir, neededBytes);
  try {
    await new Conversion(plan, dir, options).run(source);
  } catch (error) {
    throw withNeededBytes(error, neededBytes, options.outputDir);
  }
}

/** A scanner may still read the fresh files; ONNX Runtime does not wait for it. */
async function untilReadable(dir: string, { outputs }: PackageManifest): Promise<void> {
  try {
    for (const { file } of outputs) await (await disk.open(join(dir, file), "r")).close();
  } catch (error) {
    // Gone already: another conversion has put its own there.
    if (error instanceof DiskError) throw error;
  }
}

/** Nothing but an earlier package, however damaged, is ever replaced. */
export async function assertReplaceable(dir: string): Promise<void> {
  if (await isMarkedAsPackage(dir)) return;
  throw new TypeError(
    `Expected \`outputDir\` to be new, empty or an earlier ONNX package, got ${dir} with other files in it.`,
  );
}
