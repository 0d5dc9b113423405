// What a caller may ask of the loader and of one request, checked once at the door and completed with defaults.

import { availableParallelism } from "node:os";
import { expectMessages } from "./chat-messages.ts";
import type { GenerationDefaults } from "./checkpoint/generation-config.ts";
import type { Precision } from "./convert/linear-layers.ts";
import type { VisionPrecision } from "./convert/vision-graph.ts";
import {
  expectKeys,
  expectList,
  expectNumber,
  expectObject,
  expectOneOf,
  expectString,
  type NumberRange,
  unexpected,
} from "./expect.ts";
import type { Device } from "./runtime/device.ts";
import type { ChatMessage, GenerateRequest, SamplingOptions } from "./vision-language-model.ts";

/** What the loader is doing. `done` and `total` are bytes of weights while converting. */
export type LoadProgress =
  | { readonly type: "convert"; readonly done: number; readonly total: number }
  | { readonly type: "load"; readonly part: "vision-encoder" | "decoder" };

export interface LoadOptions {
  /** Directory of a checkpoint as published, or of a package made by `napcat-vlm convert`. */
  readonly model: string;
  /** @default "cpu" */
  readonly device?: Device;
  /** Format of the decoder's weights when a checkpoint is converted. @default "w8a8" */
  readonly precision?: Precision;
  /** Format of the vision encoder's weights. @default "fp32" for precision fp32, else "w8a8" */
  readonly visionPrecision?: VisionPrecision;
  /** Where packages converted from checkpoints are kept. @default `onnx/<precision>` inside the checkpoint */
  readonly packageDir?: string;
  /** Threads of one run. @default the physical cores this process may use */
  readonly threads?: number;
  /** Most tokens of prompt and answer together. @default 4096, or the checkpoint's maximum if smaller */
  readonly maxContextTokens?: number;
  /** Most tokens one picture may become; a token is 32 x 32 pixels. @default see the README */
  readonly maxImageTokens?: number;
  /** What lies under transparent pixels: white paper, or nothing (`drop`, as the reference does). @default "white" */
  readonly transparency?: "white" | "drop";
  /** Bytes of processed pictures kept for the next time they are seen. @default 268435456 (256 MiB) */
  readonly imageCacheBytes?: number;
  /** Requests that may wait while one runs. @default 16 */
  readonly maxQueue?: number;
  /** Tokens of a prompt computed in one run; an abort waits for none of them. @default 256 */
  readonly prefillChunkTokens?: number;
  readonly signal?: AbortSignal;
  readonly onProgress?: (progress: LoadProgress) => void;
  /** Told of things that work but may surprise, such as an unusual chat template. @default console.warn */
  readonly onWarning?: (message: string) => void;
}

export interface ResolvedLoadOptions {
  readonly model: string;
  readonly device: Device;
  readonly precision: Precision | undefined;
  readonly visionPrecision: VisionPrecision | undefined;
  readonly packageDir: string | undefined;
  readonly threads: number | undefined;
  readonly maxContextTokens: number | undefined;
  readonly maxImageTokens: number | undefined;
  readonly transparency: "white" | "drop";
  readonly imageCacheBytes: number;
  readonly maxQueue: number;
  readonly prefillChunkTokens: number;
  readonly signal: AbortSignal | undefined;
  readonly onProgress: (progress: LoadProgress) => void;
  readonly onWarning: (message: string) => void;
}

/** Context without `maxContextTokens`: enough for a dozen turns with pictures, about 1 GB for a 2B in fp32. */
export const DEFAULT_CONTEXT_TOKENS = 4096;
export const DEFAULT_MAX_TOKENS = 1024;
const DEFAULT_IMAGE_CACHE_BYTES = 256 * 2 ** 20;
const DEFAULT_MAX_QUEUE = 16;
const DEFAULT_PREFILL_CHUNK_TOKENS = 256;

const LOAD_KEYS = [
  "model",
  "device",
  "precision",
  "visionPrecision",
  "packageDir",
  "threads",
  "maxContextTokens",
  "maxImageTokens",
  "transparency",
  "imageCacheBytes",
  "maxQueue",
  "prefillChunkTokens",
  "signal",
  "onProgress",
  "onWarning",
];

const count: NumberRange = { integer: true, min: 1 };

/** @throws {TypeError | RangeError} naming the option, what was expected and what came */
export function resolveLoadOptions(options: LoadOptions): ResolvedLoadOptions {
  expectKeys("the options of loadQwen3Vl", options, LOAD_KEYS);
  return {
    model: expectString("model", options.model),
    device: expectDevice(options.device ?? "cpu"),
    precision: optional(options.precision, (value) =>
      expectOneOf("precision", value, ["fp32", "w8a8", "q4"]),
    ),
    visionPrecision: optional(options.visionPrecision, (value) =>
      expectOneOf("visionPrecision", value, ["fp32", "w8a8"]),
    ),
    packageDir: optional(options.packageDir, (value) => expectString("packageDir", value)),
    threads: optional(options.threads, (value) =>
      expectNumber("threads", value, { ...count, max: 4 * availableParallelism() }),
    ),
    maxContextTokens: optional(options.maxContextTokens, (value) =>
      expectNumber("maxContextTokens", value, { integer: true, min: 16 }),
    ),
    maxImageTokens: optional(options.maxImageTokens, (value) =>
      expectNumber("maxImageTokens", value, { integer: true, min: 4 }),
    ),
    transparency: expectOneOf("transparency", options.transparency ?? "white", ["white", "drop"]),
    imageCacheBytes: expectNumber(
      "imageCacheBytes",
      options.imageCacheBytes ?? DEFAULT_IMAGE_CACHE_BYTES,
      count,
    ),
    maxQueue: expectNumber("maxQueue", options.maxQueue ?? DEFAULT_MAX_QUEUE, {
      integer: true,
      min: 0,
    }),
    prefillChunkTokens: expectNumber(
      "prefillChunkTokens",
      options.prefillChunkTokens ?? DEFAULT_PREFILL_CHUNK_TOKENS,
      count,
    ),
    signal: optional(options.signal, (value) => expectSignal("signal", value)),
    onProgress: expectFunction("onProgress", options.onProgress ?? (() => {})),
    onWarning: expectFunction("onWarning", options.onWarning ?? ((text) => console.warn(text))),
  };
}

export interface ResolvedRequest {
  readonly messages: readonly ChatMessage[];
  readonly tools: readonly Readonly<Record<string, unknown>>[];
  readonly sampling: Required<SamplingOptions>;
  readonly maxTokens: number;
  readonly stop: readonly string[];
}

const REQUEST_KEYS = [
  "messages",
  "tools",
  "maxTokens",
  "stop",
  "signal",
  "temperature",
  "topP",
  "topK",
  "minP",
  "repetitionPenalty",
  "presencePenalty",
  "seed",
];

/** @throws {TypeError | RangeError} naming the option, what was expected and what came; never what a message says */
export function resolveRequest(
  request: GenerateRequest,
  defaults: GenerationDefaults,
): ResolvedRequest {
  expectKeys("the request", request, REQUEST_KEYS);
  optional(request.signal, (value) => expectSignal("signal", value));
  return {
    messages: expectMessages(request.messages),
    tools: expectList("tools", request.tools ?? []).map((tool, index) =>
      expectObject(`tools[${index}]`, "an object", tool),
    ),
    sampling: resolveSampling(request, defaults),
    maxTokens: expectNumber("maxTokens", request.maxTokens ?? DEFAULT_MAX_TOKENS, count),
    stop: expectList(
      "stop",
      typeof request.stop === "string" ? [request.stop] : (request.stop ?? []),
    ).map((text, index) => expectString(`stop[${index}]`, text)),
  };
}

function resolveSampling(
  request: GenerateRequest,
  defaults: GenerationDefaults,
): Required<SamplingOptions> {
  const share: NumberRange = { min: 0, max: 1 };
  return {
    temperature: expectNumber(
      "temperature",
      request.temperature ?? (defaults.doSample ? defaults.temperature : 0),
      { min: 0, max: 100 },
    ),
    topP: expectNumber("topP", request.topP ?? defaults.topP, { ...share, exclusiveMin: true }),
    topK: expectNumber("topK", request.topK ?? defaults.topK, { integer: true, min: 0 }),
    minP: expectNumber("minP", request.minP ?? defaults.minP, share),
    repetitionPenalty: expectNumber(
      "repetitionPenalty",
      request.repetitionPenalty ?? defaults.repetitionPenalty,
      { min: 0, exclusiveMin: true },
    ),
    presencePenalty: expectNumber("presencePenalty", request.presencePenalty ?? 0, {
      min: -100,
      max: 100,
    }),
    seed: expectNumber("seed", request.seed ?? Math.floor(Math.random() * 2 ** 32), {
      integer: true,
      min: 0,
    }),
  };
}

function expectDevice(value: string): Device {
  if (value === "cpu" || value === "webgpu") return value;
  const cuda = /^cuda(?::(\d+))?$/.exec(value);
  if (cuda) return `cuda:${Number(cuda[1] ?? 0)}`;
  throw new TypeError(unexpected("device", '"cpu", "webgpu" or "cuda:N"', value));
}

function expectFunction<T>(name: string, value: T): T {
  if (typeof value !== "function") throw new TypeError(unexpected(name, "a function", value));
  return value;
}

function expectSignal(name: string, value: AbortSignal): AbortSignal {
  if (!(value instanceof AbortSignal)) {
    throw new TypeError(unexpected(name, "an AbortSignal", value));
  }
  return value;
}

function optional<T, R>(value: T | undefined, check: (value: T) => R): R | undefined {
  return value === undefined ? undefined : check(value);
}
