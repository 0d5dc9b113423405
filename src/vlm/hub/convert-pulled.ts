// The package of a pulled model. In: its files, and what it is for. Out: where the package is. The choices are those of
// `convert` and of a first start.

import { basename, join } from "node:path";
import { choosePrecision, defaultPackageDir, ensurePackage } from "../convert/ensure-package.ts";
import {
  deviceOfPrecision,
  type PackageDevice,
  type PackagePrecision,
} from "../convert/package-graphs.ts";
import { preferredInt8Weights } from "../engine/cpu-settings.ts";
import { precisionForCheckpoint } from "../machine/precision-choice.ts";
import { chooseDevice } from "../runtime/choose-device.ts";
import { deviceKind } from "../runtime/device.ts";
import type { ResolvedPullOptions } from "./pull-options.ts";

export interface PackagePlan {
  readonly precision: PackagePrecision;
  readonly device: PackageDevice;
  /** Name of its directory. */
  readonly name: string;
}

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

/** @param checkpointDir with the settings of the model; the weights may still be missing */
export async function planPackage(
  checkpointDir: string,
  { device: named, precision, visionPrecision }: Wanted,
  signal: AbortSignal,
): Promise<PackagePlan> {
  const device = await packageDevice({ device: named, precision });
  const decoder =
    precision ??
    (device === "cpu" ? await precisionForCheckpoint(checkpointDir, { signal }) : undefined);
  const chosen = choosePrecision(decoder, visionPrecision, device);
  const name = basename(defaultPackageDir(checkpointDir, chosen, device));
  return { precision: chosen, device, name };
}

/** A precision of graphics cards names its device. */
export async function packageDevice({
  device,
  precision,
}: Pick<Wanted, "device" | "precision">): Promise<PackageDevice> {
  const chosen = device === "auto" ? (await chooseDevice()).device : device;
  return chosen === "cpu" ? deviceOfPrecision(precision) : deviceKind(chosen);
}

/** What to keep free for a package. */
export function packageBytes({ precision }: PackagePlan, weightBytes: number): number {
  return Math.ceil(weightBytes * BYTES_OF_ONE[precision.decoder]);
}

/** @returns the directory of the package @throws ModelLoadError, the signal's reason */
export async function convertPulled(
  checkpointDir: string,
  modelDir: string,
  { precision, device, name }: PackagePlan,
  { signal, onProgress }: Pick<ResolvedPullOptions, "signal" | "onProgress">,
): Promise<string> {
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
