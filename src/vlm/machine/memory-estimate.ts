// How much memory a model takes on the CPU, before anything is loaded. In: sizes, bytes of weights, how much is asked of
// it. Out: bytes by what they are for. Arithmetic only; measured against real processes in its test.

import type { Qwen3VlConfig } from "../checkpoint/config.ts";
import type { CacheFormat } from "../convert/cached-attention.ts";
import { decoderWeights } from "./decoder-weights.ts";

export interface MemoryDemand {
  readonly config: Qwen3VlConfig;
  /** Of both graphs, as they lie on disk. */
  readonly weightBytes: number;
  readonly contextTokens: number;
  /** How often the keys and values of a context are there. @default 1 */
  readonly contextCopies?: number | undefined;
  /** Most tokens of one picture. */
  readonly imageTokens: number;
  /** What caches may hold that somebody named a size for; the others take less where less is free. */
  readonly cacheBytes: number;
  /** Of keys and values. @default "fp32" */
  readonly kvPrecision?: CacheFormat | undefined;
}

export interface MemoryEstimate {
  readonly weights: number;
  /** Keys and values of one full context. */
  readonly context: number;
  /** Work space for seeing one picture. */
  readonly pictures: number;
  readonly caches: number;
  /** Node, ONNX Runtime, tokenizer. */
  readonly process: number;
  readonly total: number;
}

const MIB = 2 ** 20;
/** What a loaded model takes beside its weights; the tokenizer most of it. Of 0.1 billion weights in w8a8 processes took 254 to 308 MB in all. */
const PROCESS_BYTES = 144 * MIB;
const FLOAT_BYTES = 4;
const KV_BYTES: Readonly<Record<CacheFormat, number>> = { fp32: 4, fp16: 2, int8: 1 };
/** Rows of a vision block that exist at the same time, in hidden and in intermediate sizes. */
const HIDDEN_ROWS = 12;
const INTERMEDIATE_ROWS = 6;

export function estimateMemory(demand: MemoryDemand): MemoryEstimate {
  const { config, contextTokens, contextCopies = 1, imageTokens } = demand;
  const { text, vision } = config;
  const kvBytes = KV_BYTES[demand.kvPrecision ?? "fp32"];
  const tokenBytes = 2 * text.layers * text.kvHeads * text.headSize * kvBytes;
  const context = contextTokens * contextCopies * tokenBytes;
  const patches = imageTokens * vision.mergeSize ** 2;
  const row = HIDDEN_ROWS * vision.hiddenSize + INTERMEDIATE_ROWS * vision.intermediateSize;
  const parts = {
    weights: demand.weightBytes,
    context,
    pictures: patches * row * FLOAT_BYTES,
    caches: demand.cacheBytes,
    process: PROCESS_BYTES,
  };
  // While a tensor is brought into the form of the CPU, it is there twice; pictures come later.
  const largest = Math.max(text.vocabSize, 2 * text.intermediateSize) * text.hiddenSize;
  const loading = (demand.weightBytes * largest) / decoderWeights(config);
  const working = parts.context + parts.pictures + parts.caches;
  return { ...parts, total: parts.process + parts.weights + Math.max(loading, working) };
}
