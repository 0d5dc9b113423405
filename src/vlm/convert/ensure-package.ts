// The package of a model: the directory itself if it is one, else the one converted from it earlier, else a new one.
// It knows nothing of sessions.

import { createHash } from "node:crypto";
import { realpath, stat } from "node:fs/promises";
import { basename, join, resolve } from "node:path";
import { codeOf, DiskError } from "../../disk-error.ts";
import { isVlmError, ModelLoadError } from "../errors.ts";
import { adapterSuffix, hasAdapters } from "./adapter-name.ts";
import { convertCheckpoint } from "./convert.ts";
import type { ConvertOptions } from "./convert-options.ts";
import { withDiskTrouble } from "./disk-trouble.ts";
import type { Precision } from "./linear-layers.ts";
import {
  isMarkedAsPackage,
  isPackageOf,
  type PackageManifest,
  readManifest,
  verifyPackage,
} from "./manifest.ts";
import {
  checkPrecision,
  DECODER_PRECISIONS,
  defaultVisionPrecision,
  deviceOfPrecision,
  type PackageDevice,
  type PackagePrecision,
} from "./package-graphs.ts";
import { StagingDirectory } from "./staging.ts";
import { userCacheDir } from "./user-cache-dir.ts";
import type { VisionPrecision } from "./vision-graph.ts";

export interface EnsurePackageOptions
  extends Pick<ConvertOptions, "signal" | "onProgress" | "int8Weights" | "adapters"> {
  /** A checkpoint, or a package. */
  readonly model: string;
  /** @default "w8a8" */
  readonly precision?: Precision | undefined;
  readonly visionPrecision?: VisionPrecision | undefined;
  /**
   * @default `onnx/<precision>` inside the checkpoint, with the adapters' names and fingerprint behind it, or the user's
   *   cache where that cannot be written
   */
  readonly packageDir?: string | undefined;
  /** What the package is for. @default "cpu" */
  readonly device?: PackageDevice | undefined;
}

/** Of a decoder on the CPU, when nobody names one. */
export const DEFAULT_PRECISION: Precision = DECODER_PRECISIONS.cpu[0]!;

/**
 * Finds or makes the package of a model.
 *
 * @returns its directory
 * @throws ModelLoadError when there is no such model, or it cannot be converted, or the package at hand is damaged
 *   or of another precision than asked for
 */
export function ensurePackage(options: EnsurePackageOptions): Promise<string> {
  return withDiskTrouble(options.model, () => findOrMake(options));
}

async function findOrMake(options: EnsurePackageOptions): Promise<string> {
  const { model, device = "cpu" } = options;
  await assertDirectory(model);
  if (await isMarkedAsPackage(model)) {
    const manifest = await verifyPackage(model, { hashes: false });
    assertPrecision(model, manifest.precision, options);
    assertDevice(model, manifest.device, device);
    await assertAdapters(model, manifest, options.adapters ?? []);
    return model;
  }
  const precision = choosePrecision(options.precision, options.visionPrecision, device);
  const places =
    options.packageDir === undefined
      ? await defaultPlaces(model, packageName(precision, device), options.adapters ?? [])
      : [options.packageDir];
  for (const place of places) {
    if (await holdsPackageOf(place, { ...options, device }, precision)) return place;
  }
  return convertInto(places, { ...options, device, checkpointDir: model }, precision);
}

/**
 * The precision of the package that {@link ensurePackage} will find or make.
 *
 * @throws ModelLoadError, TypeError when it would refuse to
 */
export async function plannedPrecision({
  model,
  precision,
  visionPrecision,
  device = "cpu",
}: Omit<EnsurePackageOptions, "onProgress">): Promise<PackagePrecision> {
  if (await isMarkedAsPackage(model)) {
    const manifest = await readManifest(model);
    assertDevice(model, manifest.device, device);
    return manifest.precision;
  }
  const planned = choosePrecision(precision, visionPrecision, device);
  checkPrecision(planned, device);
  return planned;
}

/** The precisions of a conversion, with what nobody named filled in. */
export function choosePrecision(
  decoder?: Precision,
  vision?: VisionPrecision,
  device: PackageDevice = "cpu",
): PackagePrecision {
  const chosen = decoder ?? DECODER_PRECISIONS[device][0]!;
  return { decoder: chosen, vision: vision ?? defaultVisionPrecision(chosen, device) };
}

/** Where the package of a checkpoint goes when nobody says: beside its weights, or into the user's cache. */
export function defaultPackageDir(
  checkpointDir: string,
  precision: PackagePrecision,
  device: PackageDevice = "cpu",
): string {
  return join(checkpointDir, "onnx", packageName(precision, device));
}

async function convertInto(
  places: readonly string[],
  options: Omit<ConvertOptions, "outputDir" | "precision" | "visionPrecision">,
  { decoder, vision }: PackagePrecision,
): Promise<string> {
  const { checkpointDir, device, int8Weights, adapters, signal, onProgress } = options;
  let refused: unknown;
  for (const outputDir of places) {
    try {
      await assertWritable(outputDir);
      await convertCheckpoint({
        checkpointDir,
        outputDir,
        precision: decoder,
        visionPrecision: vision,
        device,
        int8Weights,
        adapters,
        signal,
        onProgress,
      });
      return outputDir;
    } catch (error) {
      if (!isReadOnly(error)) throw error;
      refused = error;
    }
  }
  throw new ModelLoadError(
    "not-writable",
    `The package converted from ${checkpointDir} can be written to none of ${places.join(", ")}. Set packageDir.`,
    { cause: refused, modelDir: checkpointDir },
  );
}

/** Found out before minutes go into a conversion: what fails in it or after it is final, and never a second conversion. */
async function assertWritable(place: string): Promise<void> {
  const assertReplaceable = async () => {}; // the conversion asks
  try {
    await (await StagingDirectory.create(place, { assertReplaceable })).discard();
  } catch (error) {
    if (error instanceof DiskError && error.trouble === "refused") throw new ReadOnlyPlace(error);
    throw error;
  }
}

/** Nothing can be written there; another place will do. */
class ReadOnlyPlace extends Error {
  constructor(cause: DiskError) {
    super(cause.message, { cause });
  }
}

/** A disk that is read-only as a whole refuses the first file already. */
function isReadOnly(error: unknown): boolean {
  return error instanceof ReadOnlyPlace || codeOf(error) === "EROFS";
}

async function holdsPackageOf(
  place: string,
  { model, device, int8Weights, adapters = [] }: EnsurePackageOptions,
  precision: PackagePrecision,
): Promise<boolean> {
  if (!(await isMarkedAsPackage(place))) return false;
  try {
    const manifest = await verifyPackage(place, { hashes: false });
    // Another CPU's form gives the same answers, but loads several times slower, at every start.
    const holdsInt8 = ["w8a8", "q4"].includes(precision.decoder) || precision.vision === "w8a8";
    if (
      device === "cpu" &&
      holdsInt8 &&
      manifest.int8Weights !== (int8Weights ?? manifest.int8Weights)
    )
      return false;
    return await isPackageOf(manifest, model, precision, device, adapters);
  } catch (error) {
    // Damaged, or of another version: it is made again.
    if (isVlmError(error)) return false;
    throw error;
  }
}

async function defaultPlaces(
  model: string,
  packageName: string,
  adapters: readonly string[],
): Promise<string[]> {
  // Some RAM disks and substituted drives of Windows have no real paths.
  const path = await realpath(model).catch(() => resolve(model));
  const id = createHash("sha256").update(path).digest("hex").slice(0, 12);
  const name = packageName + (await adapterSuffix(adapters));
  return [
    join(model, "onnx", name),
    join(userCacheDir(), "napcat-vlm", `${basename(path)}-${id}`, name),
  ];
}

function precisionName(
  { decoder, vision }: PackagePrecision,
  device: PackageDevice = deviceOfPrecision(decoder),
): string {
  return vision === defaultVisionPrecision(decoder, device)
    ? decoder
    : `${decoder}-vision-${vision}`;
}

/** What tells the packages of one checkpoint apart. */
function packageName(precision: PackagePrecision, device: PackageDevice): string {
  const name = precisionName(precision, device);
  return device === deviceOfPrecision(precision.decoder) ? name : `${name}-${device}`;
}

/** What is merged cannot be taken out, and nothing can be merged into what is quantised. */
async function assertAdapters(
  model: string,
  manifest: PackageManifest,
  adapters: readonly string[],
): Promise<void> {
  if (adapters.length === 0 || (await hasAdapters(manifest, adapters))) return;
  throw new ModelLoadError(
    "model-unsupported",
    `${model} is an ONNX package, and LoRA adapters are merged while a package is made. ` +
      "Name the checkpoint it was converted from instead, or a package made with these adapters.",
    { modelDir: model },
  );
}

function assertDevice(model: string, made: PackageDevice, wanted: PackageDevice): void {
  if (made === wanted) return;
  throw new ModelLoadError(
    "model-unsupported",
    `${model} is an ONNX package for ${made}, not for ${wanted}: the graphs differ. ` +
      "Name the checkpoint it was converted from instead, or another device.",
    { modelDir: model },
  );
}

function assertPrecision(
  model: string,
  made: PackagePrecision,
  { precision, visionPrecision }: EnsurePackageOptions,
): void {
  const wanted = { decoder: precision ?? made.decoder, vision: visionPrecision ?? made.vision };
  if (wanted.decoder === made.decoder && wanted.vision === made.vision) return;
  throw new ModelLoadError(
    "model-unsupported",
    `${model} is an ONNX package of precision ${precisionName(made)}, not ${precisionName(wanted)}. ` +
      "Name the checkpoint it was converted from instead, or leave the precision out.",
    { modelDir: model },
  );
}

/** @throws ModelLoadError that says what a model is */
export async function assertDirectory(model: string): Promise<void> {
  const found = await stat(model).catch(() => undefined);
  if (found?.isDirectory()) return;
  throw new ModelLoadError(
    "model-files-missing",
    `${model} is not a directory. Give the directory of a downloaded Qwen3-VL checkpoint, or of a package made by \`napcat-vlm convert\`.`,
    { modelDir: model },
  );
}
