// What a caller may ask of a conversion, and what they are told of it. In: options. Out: the formats they come to, or an
// error that says what is wrong with them. Knows no checkpoint.

import { relative, resolve } from "node:path";
import { list, nonEmptyText, object, oneOf, parseOptions } from "../../parse-options.ts";
import { INT8_WEIGHTS, type Int8Weights, PRECISIONS, type Precision } from "./linear-layers.ts";
import type { PackageManifest } from "./manifest.ts";
import {
  checkPrecision,
  defaultVisionPrecision,
  deviceOfPrecision,
  PACKAGE_DEVICES,
  type PackageDevice,
} from "./package-graphs.ts";
import { VISION_PRECISIONS, type VisionPrecision } from "./vision-graph.ts";

export type ConvertStage =
  /** Also measures what the layers lose, and where a scale is moved. */
  "hashing-checkpoint" | "vision-encoder" | "decoder" | "embedding-table" | "finishing";

/** How far a conversion is; bytes count over all stages. */
export interface ConvertProgress {
  readonly stage: ConvertStage;
  readonly doneBytes: number;
  readonly totalBytes: number;
}

export interface ConvertOptions {
  /** A Qwen3-VL checkpoint as published. */
  readonly checkpointDir: string;
  /** Where the package goes. Must not exist, be empty, or hold an earlier package, which is replaced. */
  readonly outputDir: string;
  readonly precision: Precision;
  /** @default on the CPU `fp32` beside an fp32 decoder, else `w8a8`; `bf16` for CUDA, `fp32` for WebGPU */
  readonly visionPrecision?: VisionPrecision | undefined;
  /** What the package is for. @default "cuda" for precisions `fp16`, `q4f16` and `w8a16`, else "cpu" */
  readonly device?: PackageDevice | undefined;
  /**
   * `s8` is several times faster on CPUs with VNNI or AMX, `s8-paired` on x64 CPUs without them. See
   * `preferredInt8Weights`. @default "s8"
   */
  readonly int8Weights?: Int8Weights | undefined;
  /** Directories of LoRA adapters as PEFT saves them, merged in this order. @default [] */
  readonly adapters?: readonly string[] | undefined;
  readonly signal?: AbortSignal | undefined;
  readonly onProgress?: ((progress: ConvertProgress) => void) | undefined;
}

/** What the layers of a package are written in, and for which device. */
export type PackageFormats = Pick<PackageManifest, "precision" | "device">;

const FORMATS_SCHEMA = object({
  precision: oneOf(PRECISIONS),
  visionPrecision: oneOf(VISION_PRECISIONS).optional(),
  device: oneOf(PACKAGE_DEVICES).optional(),
  int8Weights: oneOf(INT8_WEIGHTS).optional(),
  adapters: list(nonEmptyText(), "a list of directories").optional(),
});

/** @throws TypeError for formats that do not go together, or an output around the checkpoint */
export function packageFormats(options: ConvertOptions): PackageFormats {
  const { precision: decoder, visionPrecision, int8Weights } = options;
  const formats = {
    precision: decoder,
    visionPrecision,
    device: options.device,
    int8Weights,
    adapters: options.adapters,
  };
  parseOptions(FORMATS_SCHEMA, formats, "convertCheckpoint");
  const device = options.device ?? deviceOfPrecision(decoder);
  const vision = visionPrecision ?? defaultVisionPrecision(decoder, device);
  const precision = { decoder, vision };
  checkPrecision(precision, device);
  const fromOutput = relative(resolve(options.outputDir), resolve(options.checkpointDir));
  if (fromOutput === "" || !(fromOutput.startsWith("..") || resolve(fromOutput) === fromOutput)) {
    throw new TypeError(
      "Expected `outputDir` to be outside the checkpoint's path, got the checkpoint itself or a directory around it.",
    );
  }
  return { precision, device };
}
