// Which model suits a machine. In: what was measured, what is free, and the sizes of models. Out: the largest that fits
// and is quick enough to talk to, with precision, context, picture budget and how fast it is expected to be.

import type { Qwen3VlConfig } from "../checkpoint/config.ts";
import type { CacheFormat } from "../convert/cached-attention.ts";
import { chooseCacheFormat } from "./cache-choice.ts";
import { decoderWeights } from "./decoder-weights.ts";
import { firstTokenMs, imageBudget } from "./image-budget.ts";
import { type MachineProfile, oneRowSpeed } from "./machine-profile.ts";
import { plannedWeightBytes } from "./memory-check.ts";
import { estimateMemory } from "./memory-estimate.ts";
import { BYTES, choosePrecisionFor } from "./precision-choice.ts";
import { chooseRuns, type RunChoices } from "./run-choices.ts";

export interface ModelSize {
  readonly name: string;
  readonly config: Qwen3VlConfig;
}

export interface Recommendation {
  readonly name: string;
  readonly precision: "w8a8" | "q4";
  readonly contextTokens: number;
  readonly maxImageTokens: number;
  /** To the first word about a new picture of that many tokens. */
  readonly firstTokenMs: number;
  /** Of one answer alone. */
  readonly tokensPerSecond: number;
  /** Expected to be taken of memory. */
  readonly memoryBytes: number;
  readonly fits: boolean;
  /** Nobody would wait for it. */
  readonly slow: boolean;
  /** Of keys and values. */
  readonly kvPrecision: CacheFormat;
  readonly runs: RunChoices;
}

const CONTEXTS = [8192, 4096, 2048, 1024];
/** A first word later than that, or words slower than people read, make no conversation. */
const SLOWEST_FIRST_TOKEN_MS = 15_000;
const FEWEST_TOKENS_PER_SECOND = 4;
/** What products take of a decode step. */
const DECODE_SHARE = 0.8;
const TARGET_MS = 10_000;

/** What is to be expected of a model; with the longest context that fits. */
export function expectModel(
  profile: MachineProfile,
  { name, config }: ModelSize,
  freeBytes: number,
): Recommendation {
  const chosen = choosePrecisionFor(profile, config, freeBytes).precision;
  const decoder = chosen === "q4" ? "q4" : "w8a8";
  const precision = { decoder, vision: "w8a8" } as const;
  const { maxImageTokens } = imageBudget(profile, config, precision, TARGET_MS);
  const kvPrecision = chooseCacheFormat(profile, decoder);
  const weightBytes = plannedWeightBytes(config, precision);
  const memory = (contextTokens: number) =>
    estimateMemory({
      config,
      weightBytes,
      contextTokens,
      imageTokens: maxImageTokens,
      cacheBytes: 0,
      kvPrecision,
    }).total;
  const [shortest = 0] = CONTEXTS.slice(-1);
  const contextTokens = CONTEXTS.find((tokens) => memory(tokens) <= freeBytes) ?? shortest;
  const stepBytes = decoderWeights(config) * BYTES[decoder];
  const tokensPerSecond = (oneRowSpeed(profile, decoder) * 1e9 * DECODE_SHARE) / stepBytes;
  const firstMs = firstTokenMs(profile, config, precision, maxImageTokens);
  return {
    name,
    precision: decoder,
    contextTokens,
    maxImageTokens,
    firstTokenMs: Math.round(firstMs),
    tokensPerSecond,
    memoryBytes: memory(contextTokens),
    fits: memory(contextTokens) <= freeBytes,
    kvPrecision,
    runs: chooseRuns(profile, config, decoder),
    slow: firstMs > SLOWEST_FIRST_TOKEN_MS || tokensPerSecond < FEWEST_TOKENS_PER_SECOND,
  };
}

/**
 * The largest model that fits and is not slow; else the smallest that fits; undefined where none does.
 *
 * @param expected from the smallest model to the largest
 */
export function recommend(expected: readonly Recommendation[]): Recommendation | undefined {
  const fitting = expected.filter(({ fits }) => fits);
  return fitting.findLast(({ slow }) => !slow) ?? fitting[0];
}
