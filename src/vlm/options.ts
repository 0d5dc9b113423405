// What a caller may ask of the loader, checked once at the door and completed with defaults.

import { availableParallelism } from "node:os";
import {
  abortSignal,
  boolean,
  callback,
  either,
  integer,
  list,
  matching,
  milliseconds,
  nonEmptyText,
  object,
  oneOf,
  parseOptions,
  text,
  withDefaults,
} from "../parse-options.ts";
import { CACHE_FORMATS, type CacheFormat } from "./convert/cached-attention.ts";
import { PRECISIONS, type Precision } from "./convert/linear-layers.ts";
import { VISION_PRECISIONS, type VisionPrecision } from "./convert/vision-graph.ts";
import { DEFAULT_MAX_FRAMES, DEFAULT_MAX_TILES } from "./image/image-tensor.ts";
import { DEFAULT_PICTURE_NOTES, type PictureNotes } from "./image/picture-notes.ts";
import { MEMORY_CHECKS, type MemoryCheck } from "./machine/memory-check.ts";
import { COMPUTE_PRIORITIES, type ComputePriority } from "./runtime/compute-priority.ts";
import type { Device } from "./runtime/device.ts";

/** What the loader is doing. `done` and `total` are bytes of weights while converting. */
export type LoadProgress =
  | { readonly type: "convert"; readonly done: number; readonly total: number }
  | { readonly type: "load"; readonly part: "vision-encoder" | "decoder" };

export interface ImageViewOptions {
  /**
   * Most frames of an animation that are seen, the most different ones in order. They share the tokens of one picture;
   * 1 is the first frame with something in it. @default 4
   */
  readonly maxFrames?: number;
  /**
   * Most pieces that a long picture is cut into where it would become too small to be read. Each may take
   * `maxImageTokens`; 1 leaves it whole. @default 4
   */
  readonly maxTiles?: number;
  /** What the model is told about frames, pieces and incomplete pictures, in other words. */
  readonly notes?: Partial<PictureNotes>;
}

export interface LoadOptions {
  /**
   * Directory of a checkpoint as published, of a package made by `napcat-vlm convert`, or of one that another program made
   * (the layouts of mobius and of onnx-community).
   */
  readonly model: string;
  /** `auto`: the first of CUDA, WebGPU and CPU that works; `onWarning` is told which and why. @default "cpu" */
  readonly device?: Device | "auto";
  /**
   * Most bytes of a graphics card's memory that this model uses, weights included.
   *
   * @default 90 % of what is free when it is loaded and other models of this process may not still take
   */
  readonly deviceMemoryBytes?: number;
  /** Records the steps of answers on a graphics card once and replays them. CUDA only. @default false */
  readonly captureGraphs?: boolean;
  /**
   * On an NVIDIA card: steps of up to sixteen chats by kernels of our own, compiled at the first load, where they compute
   * what the graph computes, and sooner. @default true
   */
  readonly stepKernels?: boolean;
  /**
   * Format of the decoder's weights when a checkpoint is converted. @default "w8a8", or "q4" where this machine is
   * twice as fast with it or w8a8 does not fit into its memory; "q4f16" for CUDA, "q4" for WebGPU. Of a package in the
   * layout of onnx-community: which of its decoders is taken
   */
  readonly precision?: Precision;
  /**
   * Directories of LoRA adapters as PEFT saves them, merged into a checkpoint in this order while it is converted; each
   * set of adapters has a package of its own. @default []
   */
  readonly adapters?: readonly string[];
  /** Format of the vision encoder's weights. @default "fp32" for precision fp32, else "w8a8" */
  readonly visionPrecision?: VisionPrecision;
  /**
   * Format of keys and values, on the CPU. `"auto"`: fp32 for weights in fp32, else int8 where this machine answers faster
   * with it. int8 takes a quarter of the memory, fp16 half. @default "auto"
   */
  readonly kvPrecision?: CacheFormat | "auto";
  /** Where packages converted from checkpoints are kept. @default `onnx/<precision>` inside the checkpoint */
  readonly packageDir?: string;
  /** Threads of one run. @default the physical cores this process may use */
  readonly threads?: number;
  /**
   * `"low"`: the event loop, and every other program, has a core before the threads that compute. On the CPU, on Linux,
   * which has priorities of threads. @default "normal"
   */
  readonly computePriority?: ComputePriority;
  /** Most tokens of prompt and answer together. @default 4096, or the checkpoint's maximum if smaller */
  readonly maxContextTokens?: number;
  /**
   * Most tokens one picture may become; a token is 32 x 32 pixels. `"auto"`: from 128 to 1024, as many as this machine
   * sees and reads within `targetFirstTokenMs`; 1024 on a graphics card. @default "auto"
   */
  readonly maxImageTokens?: number | "auto";
  /** In how many milliseconds a first word about a new picture should come; for `maxImageTokens`. @default 10000 */
  readonly targetFirstTokenMs?: number;
  /** What lies under transparent pixels: white paper, or nothing (`drop`, as the reference does). @default "white" */
  readonly transparency?: "white" | "drop";
  /** How pictures that are more than one picture are seen: animations and long screenshots. */
  readonly images?: ImageViewOptions;
  /** Bytes of processed pictures kept for the next time they are seen. @default 268435456 (256 MiB) */
  readonly imageCacheBytes?: number;
  /** Bytes of encoded pictures kept; 0 keeps none. @default 1/32 of the free memory, 256 MiB at most */
  readonly featureCacheBytes?: number;
  /**
   * Bytes of computed prompts and answers kept for what begins with the same: the next question of a chat, the same
   * system prompt in another; 0 keeps none. @default 1/8 of the free memory, 2 GiB at most
   */
  readonly prefixCacheBytes?: number;
  /**
   * Use weights where their file is mapped, so that all processes with one package have them in memory once, and loading
   * takes no time. Runs are slower, as nothing is brought into the form of the CPU: answers of `w8a8` about three times,
   * `q4` is of no use. On the CPU. @default false
   */
  readonly shareWeights?: boolean;
  /**
   * When a model is not expected to fit into the free memory: refuse it with `memory-short` and what to choose instead,
   * load it all the same and say so, or do not look. On the CPU. @default "refuse"
   */
  readonly memoryCheck?: MemoryCheck;
  /**
   * Requests answered at once, each with a context of its own. @default what a quarter of the free memory holds, 4 to 8;
   * on a CPU no more than get a token within half a second when all are written
   */
  readonly maxConcurrent?: number;
  /** Requests that may wait when `maxConcurrent` run. @default 16 */
  readonly maxQueue?: number;
  /** Longest time in milliseconds for which an answer stands still because somebody else's prompt is read. @default 500 */
  readonly maxStallMs?: number;
  /**
   * Guess at what comes next when one answer is written alone, and check several guesses in one run, while that pays.
   * Answers are the same. @default true
   */
  readonly speculation?: boolean;
  /**
   * Most tokens of a prompt computed in one run; an abort waits for none of them. `"auto"`: as many as this machine reads in
   * three seconds, from 64 to 256. @default "auto"
   */
  readonly prefillChunkTokens?: number | "auto";
  readonly signal?: AbortSignal;
  readonly onProgress?: (progress: LoadProgress) => void;
  /** Told of things that work but may surprise, such as an unusual chat template. @default console.warn */
  readonly onWarning?: (message: string) => void;
}

export interface ResolvedLoadOptions {
  readonly model: string;
  readonly device: Device | "auto";
  readonly deviceMemoryBytes: number | undefined;
  readonly captureGraphs: boolean;
  readonly stepKernels: boolean;
  readonly precision: Precision | undefined;
  readonly adapters: readonly string[];
  readonly visionPrecision: VisionPrecision | undefined;
  readonly kvPrecision: CacheFormat | "auto";
  readonly packageDir: string | undefined;
  readonly threads: number | undefined;
  readonly computePriority: ComputePriority;
  readonly maxContextTokens: number | undefined;
  readonly maxImageTokens: number | "auto";
  readonly targetFirstTokenMs: number;
  readonly transparency: "white" | "drop";
  readonly images: Required<ImageViewOptions> & { readonly notes: PictureNotes };
  readonly imageCacheBytes: number;
  readonly featureCacheBytes: number | undefined;
  readonly prefixCacheBytes: number | undefined;
  readonly shareWeights: boolean;
  readonly memoryCheck: MemoryCheck;
  readonly maxConcurrent: number | undefined;
  readonly maxQueue: number;
  readonly maxStallMs: number;
  readonly speculation: boolean;
  readonly prefillChunkTokens: number | "auto";
  readonly signal: AbortSignal | undefined;
  readonly onProgress: (progress: LoadProgress) => void;
  readonly onWarning: (message: string) => void;
}

/** Context without `maxContextTokens`: enough for a dozen turns with pictures, about 1 GB for a 2B in fp32. */
export const DEFAULT_CONTEXT_TOKENS = 4096;
const DEFAULT_IMAGE_CACHE_BYTES = 256 * 2 ** 20;
const DEFAULT_MAX_QUEUE = 16;
const DEFAULT_TARGET_FIRST_TOKEN_MS = 10_000;
const DEFAULT_MAX_STALL_MS = 500;

/** @internal */
export const LOAD_SCHEMA = object({
  model: nonEmptyText(),
  device: matching<string>('"cpu", "webgpu", "cuda:N" or "auto"', isDevice, "string").optional(),
  deviceMemoryBytes: integer(1).optional(),
  captureGraphs: boolean().optional(),
  stepKernels: boolean().optional(),
  precision: oneOf(PRECISIONS).optional(),
  adapters: list(nonEmptyText(), "a list of directories").optional(),
  visionPrecision: oneOf(VISION_PRECISIONS).optional(),
  kvPrecision: oneOf(["auto", ...CACHE_FORMATS]).optional(),
  packageDir: nonEmptyText().optional(),
  threads: integer(1, 4 * availableParallelism()).optional(),
  computePriority: oneOf(COMPUTE_PRIORITIES).optional(),
  maxContextTokens: integer(16).optional(),
  maxImageTokens: either([integer(4), oneOf(["auto"])], 'an integer >= 4 or "auto"').optional(),
  targetFirstTokenMs: milliseconds().optional(),
  transparency: oneOf(["white", "drop"]).optional(),
  images: object({
    maxFrames: integer(1).optional(),
    maxTiles: integer(1).optional(),
    notes: object({
      frame: callback<string>("a function that returns a string").optional(),
      frames: callback<string>("a function that returns a string").optional(),
      tile: callback<string>("a function that returns a string").optional(),
      cut: text().optional(),
      smallPrint: text().optional(),
    }).optional(),
  }).optional(),
  imageCacheBytes: integer(1).optional(),
  featureCacheBytes: integer(0).optional(),
  prefixCacheBytes: integer(0).optional(),
  shareWeights: boolean().optional(),
  memoryCheck: oneOf(MEMORY_CHECKS).optional(),
  maxConcurrent: integer(1, 256).optional(),
  maxQueue: integer(0).optional(),
  maxStallMs: milliseconds().optional(),
  speculation: boolean().optional(),
  prefillChunkTokens: either([integer(1), oneOf(["auto"])], 'an integer >= 1 or "auto"').optional(),
  signal: abortSignal().optional(),
  onProgress: callback().optional(),
  onWarning: callback().optional(),
});

/** @throws {TypeError | RangeError} naming every option that is wrong, what was expected and what came */
export function resolveLoadOptions(options: LoadOptions): ResolvedLoadOptions {
  parseOptions(LOAD_SCHEMA, options, "loadQwen3Vl");
  return {
    model: options.model,
    device: deviceOf(options.device ?? "cpu"),
    deviceMemoryBytes: options.deviceMemoryBytes,
    captureGraphs: options.captureGraphs ?? false,
    stepKernels: options.stepKernels ?? true,
    precision: options.precision,
    adapters: options.adapters ?? [],
    visionPrecision: options.visionPrecision,
    kvPrecision: options.kvPrecision ?? "auto",
    packageDir: options.packageDir,
    threads: options.threads,
    computePriority: options.computePriority ?? "normal",
    maxContextTokens: options.maxContextTokens,
    maxImageTokens: options.maxImageTokens ?? "auto",
    targetFirstTokenMs: options.targetFirstTokenMs ?? DEFAULT_TARGET_FIRST_TOKEN_MS,
    transparency: options.transparency ?? "white",
    images: {
      maxFrames: options.images?.maxFrames ?? DEFAULT_MAX_FRAMES,
      maxTiles: options.images?.maxTiles ?? DEFAULT_MAX_TILES,
      notes: withDefaults(DEFAULT_PICTURE_NOTES, options.images?.notes),
    },
    imageCacheBytes: options.imageCacheBytes ?? DEFAULT_IMAGE_CACHE_BYTES,
    featureCacheBytes: options.featureCacheBytes,
    prefixCacheBytes: options.prefixCacheBytes,
    shareWeights: options.shareWeights ?? false,
    memoryCheck: options.memoryCheck ?? "refuse",
    maxConcurrent: options.maxConcurrent,
    maxQueue: options.maxQueue ?? DEFAULT_MAX_QUEUE,
    maxStallMs: options.maxStallMs ?? DEFAULT_MAX_STALL_MS,
    speculation: options.speculation ?? true,
    prefillChunkTokens: options.prefillChunkTokens ?? "auto",
    signal: options.signal,
    onProgress: options.onProgress ?? (() => {}),
    onWarning: options.onWarning ?? ((text) => console.warn(text)),
  };
}

const CUDA = /^cuda(?::(\d+))?$/u;

function isDevice(value: unknown): boolean {
  if (value === "cpu" || value === "webgpu" || value === "auto") return true;
  return typeof value === "string" && CUDA.test(value);
}

/** `cuda` is `cuda:0`. */
function deviceOf(name: string): Device | "auto" {
  const cuda = CUDA.exec(name);
  return cuda ? `cuda:${Number(cuda[1] ?? 0)}` : (name as Device | "auto");
}
