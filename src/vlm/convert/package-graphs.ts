// Which graphs a package gets, by precision and by the device it is for. One place decides what fits together.

import type { Qwen3VlConfig } from "../checkpoint/config.ts";
import { CACHE_FORMATS, type CacheFormat } from "./cached-attention.ts";
import { decoderGraph } from "./decoder-graph.ts";
import { CARD_FORM, type DeviceForm, deviceDecoderGraph } from "./device-decoder-graph.ts";
import type { DevicePrecision, Int8Weights, Precision, WiderFormats } from "./linear-layers.ts";
import type { StoredInt4 } from "./stored-int4.ts";
import { type PlannedGraph, type VisionPrecision, visionGraph } from "./vision-graph.ts";

/** What a package is made for. Its graphs are written for the operators of that device. */
export const PACKAGE_DEVICES = ["cpu", "cuda", "webgpu"] as const;
export type PackageDevice = (typeof PACKAGE_DEVICES)[number];

export interface PackagePrecision {
  readonly decoder: Precision;
  readonly vision: VisionPrecision;
}

/** Precisions of a decoder for each device, the one taken when nobody names one first. */
export const DECODER_PRECISIONS: Readonly<Record<PackageDevice, readonly Precision[]>> = {
  // Those in 16 bits are computed in f32 between casts: for comparisons, not for speed.
  cpu: ["w8a8", "fp32", "q4", "fp16", "q4f16", "w8a16"],
  cuda: ["q4f16", "fp16", "w8a16"],
  // int8 has no kernels there; 16 bits need an adapter that has them, and their sums are in 16 bits too.
  webgpu: ["q4", "fp32", "q4f16", "w8a16", "fp16"],
};

/** Likewise, of a vision encoder. */
export const ENCODER_PRECISIONS: Readonly<Record<PackageDevice, readonly VisionPrecision[]>> = {
  cpu: ["w8a8", "fp32", "fp16"],
  cuda: ["bf16", "fp16", "fp32"],
  webgpu: ["fp32", "fp16"],
};

const DEVICE_FORMS: Readonly<Record<PackageDevice, DeviceForm>> = {
  cpu: { attention: "composed", ends: "ids" },
  cuda: CARD_FORM,
  // Its memory has no addresses, on which lookups and candidates on a card depend.
  webgpu: { attention: "composed", ends: "embeddings" },
};

/** The device that a precision is for when nobody names one. */
export function deviceOfPrecision(precision: Precision | undefined): PackageDevice {
  return precision !== undefined && isDevicePrecision(precision) ? "cuda" : "cpu";
}

/** The vision encoder's precision when nobody names one. */
export function defaultVisionPrecision(
  decoder: Precision,
  device: PackageDevice = "cpu",
): VisionPrecision {
  if (device !== "cpu") return ENCODER_PRECISIONS[device][0]!;
  if (isDevicePrecision(decoder)) return "fp16";
  return decoder === "fp32" ? "fp32" : "w8a8";
}

/** @throws TypeError when the device has no such graphs, naming those that it has */
export function checkPrecision(precision: PackagePrecision, device: PackageDevice): void {
  const encoders =
    device === "webgpu" && !isDevicePrecision(precision.decoder)
      ? (["fp32"] as const) // Nothing else could be held to what 32 bits promise.
      : ENCODER_PRECISIONS[device];
  for (const [what, value, known] of [
    ["precision", precision.decoder, DECODER_PRECISIONS[device]],
    ["visionPrecision", precision.vision, encoders],
  ] as const) {
    if ((known as readonly string[]).includes(value)) continue;
    const beside = what === "precision" ? "" : ` beside precision ${precision.decoder}`;
    throw new TypeError(
      `Expected \`${what}\` of a package for ${device}${beside} to be one of ${known.join(", ")}, got \`${value}\`.`,
    );
  }
}

export interface WeightFormats {
  readonly int8Weights: Int8Weights;
  /** Formats of single weights that are not those of the rest. */
  readonly wider?: WiderFormats | undefined;
  /** Weights of the decoder whose 4-bit levels are kept. */
  readonly stored?: StoredInt4 | undefined;
  /** Of keys and values on CPUs. @default "fp32" */
  readonly cache?: CacheFormat | undefined;
}

/** Formats of keys and values for which a package has a decoder of its own beside the usual one, all with its weights. */
export function otherCacheFormats(decoder: Precision, device: PackageDevice): CacheFormat[] {
  if (device !== "cpu" || isDevicePrecision(decoder)) return [];
  return CACHE_FORMATS.filter((format) => format !== "fp32");
}

/** The two graphs of a package. */
export function packageGraphs(
  config: Qwen3VlConfig,
  { decoder, vision }: PackagePrecision,
  device: PackageDevice,
  { int8Weights, wider, stored, cache }: WeightFormats,
): { readonly vision: PlannedGraph; readonly decoder: PlannedGraph } {
  return {
    vision: visionGraph(config, vision, {
      int8Weights,
      wider,
      // One operator of WebGPU is wrong where subgroups are narrow, and whether they are cannot be known beforehand.
      attention: device === "webgpu" ? "composed" : "operator",
      features: runsAsOnCard(decoder, device) ? "f16" : "f32",
    }),
    decoder: isDevicePrecision(decoder)
      ? deviceDecoderGraph(config, decoder, DEVICE_FORMS[device], stored)
      : decoderGraph(config, decoder, int8Weights, {
          device: device === "webgpu" ? device : "cpu",
          wider,
          stored,
          cache,
        }),
  };
}

/** Does the decoder take token ids and give candidates? */
export function runsAsOnCard(decoder: Precision, device: PackageDevice): boolean {
  return isDevicePrecision(decoder) && DEVICE_FORMS[device].ends === "ids";
}

/** Does anything of it compute with 16-bit floats, which not every graphics adapter has? */
export function usesHalfFloats({ decoder, vision }: PackagePrecision): boolean {
  return isDevicePrecision(decoder) || vision === "fp16";
}

/** Is the decoder of the form in device-decoder-graph.ts, which computes in 16 bits? */
export function isDevicePrecision(precision: Precision): precision is DevicePrecision {
  return precision === "fp16" || precision === "q4f16" || precision === "w8a16";
}
