// The package of a pulled model. In: its files, and what it is for. Out: where the package is. The choices are those of
// `convert` and of a first start.

import { basename, join } from "node:path";
import type { ComingShard } from "../convert/coming-shards.ts";
import { begunFormats, convertComing } from "../convert/convert-coming.ts";
import { choosePrecision, defaultPackageDir, ensurePackage } from "../convert/ensure-package.ts";
import {
  deviceOfPrecision,
  type PackageDevice,
  type PackagePrecision,
} from "../convert/package-graphs.ts";
import { preferredInt8Weights } from "../engine/cpu-settings.ts";
import { chooseUsualDevice } from "../machine/device-choice.ts";
import { precisionForCheckpoint } from "../machine/precision-choice.ts";
import { deviceKind } from "../runtime/device.ts";
import type { ComingWeights } from "./fetch-files.ts";
import type { ListedFile } from "./hub.ts";
import type { ResolvedPullOptions } from "./pull-options.ts";

export interface PackagePlan {
  readonly precision: PackagePrecision;
  readonly device: PackageDevice;
  /** Name of its directory. */
  readonly name: string;
}

/** Beside the packages of a model: one that is being made while its weights come. */
const WORK_DIR = ".coming";

/** How many bytes of a package come from one byte of bf16 weights, nearly. */
const BYTES_OF_ONE: Readonly<Record<PackagePrecision["decoder"], number>> = {
  w8a8: 0.68,
  q4: 0.52,
  fp32: 2.2,
  fp16: 1.05,
  q4f16: 0.52,
  w8a16: 0.63,
};

type Wanted = Pick<ResolvedPullOptions, "device" | "precision" | "visionPrecision">;

/** @param checkpointDir with the settings of the model; the weights may be missing */
export async function planPackage(
  checkpointDir: string,
  { device: named, precision, visionPrecision }: Wanted,
  signal: AbortSignal,
): Promise<PackagePlan> {
  const device = await packageDevice({ device: named, precision });
  const decoder =
    precision ??
    (device === "cpu" ? await precisionForCheckpoint(checkpointDir, { signal }) : undefined);
  return planOf(checkpointDir, choosePrecision(decoder, visionPrecision, device), device);
}

function planOf(
  checkpointDir: string,
  precision: PackagePrecision,
  device: PackageDevice,
): PackagePlan {
  return { precision, device, name: basename(defaultPackageDir(checkpointDir, precision, device)) };
}

/** A precision of graphics cards names its device. */
export async function packageDevice({
  device,
  precision,
}: Pick<Wanted, "device" | "precision">): Promise<PackageDevice> {
  const chosen = device === "auto" ? (await chooseUsualDevice()).device : device;
  return chosen === "cpu" ? deviceOfPrecision(precision) : deviceKind(chosen);
}

/** What to keep free for a package. */
export function packageBytes({ precision }: PackagePlan, weightBytes: number): number {
  return Math.ceil(weightBytes * BYTES_OF_ONE[precision.decoder]);
}

/** A package that an interrupted pull was making of these weights goes on in its formats, unless others are asked for. */
export async function begunPlan(
  { files }: ComingWeights,
  modelDir: string,
  { device: named, precision, visionPrecision }: Wanted,
): Promise<PackagePlan | undefined> {
  const begun = await begunFormats(join(modelDir, WORK_DIR), shardsOf(files));
  if (begun === undefined) return undefined;
  const isAsked =
    begun.precision.decoder === (precision ?? begun.precision.decoder) &&
    begun.precision.vision === (visionPrecision ?? begun.precision.vision) &&
    begun.device === (await packageDevice({ device: named, precision }));
  return isAsked ? planOf("", begun.precision, begun.device) : undefined;
}

/**
 * Converts weights while they come, each file gone before the next one comes.
 *
 * @returns the directory of the package; undefined where all files have to be here first, or are
 */
export async function convertWhileComing(
  weights: ComingWeights,
  modelDir: string,
  { precision, device, name }: PackagePlan,
  { signal, onProgress }: Pick<ResolvedPullOptions, "signal" | "onProgress">,
): Promise<string | undefined> {
  const shards = shardsOf(weights.files);
  // Without a hash nobody knows whether what comes later is of the same model.
  const isSafe = shards.every(({ sha256, gitSha1 }) => (sha256 ?? gitSha1) !== undefined);
  if (shards.length === 0 || !isSafe) return undefined;
  const rooms = await Promise.all(shards.map(({ file }) => weights.room(file)));
  if (rooms.every(({ toCome }) => toCome === 0)) return undefined;
  const outputDir = join(modelDir, name);
  const isDone = await convertComing(
    { ...weights, shards },
    {
      outputDir,
      workDir: join(modelDir, WORK_DIR),
      formats: { precision, device },
      int8Weights: await preferredInt8Weights(),
      signal,
      onRoom: (diskBytes) => {
        const totalBytes = shards.reduce((sum, { bytes }) => sum + bytes, 0);
        const files = shards.length;
        onProgress({ type: "plan", oneByOne: true, files, totalBytes, diskBytes });
      },
      onProgress: ({ stage, doneBytes, totalBytes }) => {
        // Before the first file is here there is nothing to tell.
        if (stage !== "hashing-checkpoint") onProgress({ type: "convert", doneBytes, totalBytes });
      },
    },
  );
  return isDone ? outputDir : undefined;
}

function shardsOf(files: readonly ListedFile[]): ComingShard[] {
  return files.map(({ path, size, sha256, gitSha1 }) => ({
    file: path,
    bytes: size,
    sha256,
    gitSha1,
  }));
}

/**
 * Converts files that are all here. What their weights tell, such as levels in 4 bits, is known now.
 *
 * @returns the directory of the package
 * @throws ModelLoadError, the signal's reason
 */
export async function convertPulled(
  checkpointDir: string,
  modelDir: string,
  options: Wanted & Pick<ResolvedPullOptions, "signal" | "onProgress">,
): Promise<string> {
  const { signal, onProgress } = options;
  const { precision, device, name } = await planPackage(checkpointDir, options, signal);
  return ensurePackage({
    model: checkpointDir,
    packageDir: join(modelDir, name),
    precision: precision.decoder,
    visionPrecision: precision.vision,
    device,
    int8Weights: await preferredInt8Weights(),
    signal,
    onProgress: ({ doneBytes, totalBytes }) =>
      onProgress({ type: "convert", doneBytes, totalBytes }),
  });
}
