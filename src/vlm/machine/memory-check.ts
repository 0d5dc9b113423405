// Will it fit? In: what a model takes, and what is free. Out: nothing, or an error that says what to choose instead.
// Asked before a conversion and before a load; it allocates nothing.

import type { Qwen3VlConfig } from "../checkpoint/config.ts";
import type { Precision } from "../convert/linear-layers.ts";
import { type PackagePrecision, packageGraphs } from "../convert/package-graphs.ts";
import { ModelLoadError } from "../errors.ts";
import { freeMemory } from "../runtime/free-memory.ts";
import { estimateMemory, type MemoryDemand } from "./memory-estimate.ts";

export const MEMORY_CHECKS = ["refuse", "warn", "off"] as const;
/** What happens when a model is not expected to fit into memory. */
export type MemoryCheck = (typeof MEMORY_CHECKS)[number];

export interface MemoryQuestion extends MemoryDemand {
  readonly name: string;
  readonly precision: PackagePrecision;
  /** Can another precision be chosen? Not where the package is given. */
  readonly convertible: boolean;
}

/** Shortest context that is worth having: a picture, a question and an answer. */
const SHORTEST_CONTEXT = 1024;
const CONTEXT_STEP = 512;
const FEWEST_IMAGE_TOKENS = 128;

/**
 * @param free bytes that this process may still take
 * @throws ModelLoadError `memory-short` when it is not expected to fit and `check` is "refuse"
 */
export function checkMemory(
  question: MemoryQuestion,
  check: MemoryCheck,
  onWarning: (sentence: string) => void,
  free = freeMemory(),
): void {
  if (check === "off") return;
  const { total } = estimateMemory(question);
  if (total <= free) return;
  const sentence = `${describe(question, free)} ${advise(question, free)}`;
  if (check === "warn") {
    onWarning(sentence);
    return;
  }
  throw new ModelLoadError(
    "memory-short",
    `${sentence} With memoryCheck "warn" it is loaded all the same.`,
    { neededBytes: total, freeBytes: free },
  );
}

/** Bytes of the weights of both graphs in a precision, from the sizes alone. */
export function plannedWeightBytes(config: Qwen3VlConfig, precision: PackagePrecision): number {
  const { vision, decoder } = packageGraphs(config, precision, "cpu", { int8Weights: "s8" });
  return vision.model.externalByteLength + decoder.model.externalByteLength;
}

function describe(question: MemoryQuestion, free: number): string {
  const { weights, context, pictures, caches, total } = estimateMemory(question);
  const parts = [
    `weights ${gigabytes(weights)}`,
    `a context of ${question.contextTokens} tokens ${gigabytes(context)}`,
    `a picture of ${question.imageTokens} tokens ${gigabytes(pictures)}`,
    ...(caches > 0 ? [`caches ${gigabytes(caches)}`] : []),
  ];
  return (
    `${question.name} in ${question.precision.decoder} is expected to take ${gigabytes(total)} of memory ` +
    `(${parts.join(", ")}), and ${gigabytes(free)} is free.`
  );
}

/** The mildest change that fits; all of them together where none does alone. */
function advise(question: MemoryQuestion, free: number): string {
  const fits = (change: Partial<MemoryDemand>) =>
    estimateMemory({ ...question, ...change }).total <= free;
  const smaller = { imageTokens: Math.min(question.imageTokens, FEWEST_IMAGE_TOKENS) };
  const context = longestContext(question, (tokens) => fits({ contextTokens: tokens }));
  if (context !== undefined) return `Set maxContextTokens to ${context}.`;
  if (fits({ cacheBytes: 0 })) return "Name smaller caches, or none.";
  if (fits(smaller)) return `Set maxImageTokens to ${smaller.imageTokens}.`;
  const least = { ...smaller, contextTokens: SHORTEST_CONTEXT, cacheBytes: 0 };
  const both = `maxContextTokens to ${SHORTEST_CONTEXT} and maxImageTokens to ${smaller.imageTokens}`;
  if (fits(least)) return `Set ${both}.`;
  const narrow = narrower(question);
  if (narrow !== undefined) {
    const weightBytes = plannedWeightBytes(question.config, narrow);
    const named = `precision ${narrow.decoder} (weights ${gigabytes(weightBytes)})`;
    if (fits({ weightBytes })) return `Choose ${named}.`;
    if (fits({ ...least, weightBytes })) return `Choose ${named}, and set ${both}.`;
  }
  return "Choose a smaller model, or free some memory.";
}

function longestContext(
  { contextTokens }: MemoryDemand,
  fits: (tokens: number) => boolean,
): number | undefined {
  const first = Math.floor((contextTokens - 1) / CONTEXT_STEP) * CONTEXT_STEP;
  for (let tokens = first; tokens >= SHORTEST_CONTEXT; tokens -= CONTEXT_STEP) {
    if (fits(tokens)) return tokens;
  }
  return undefined;
}

/** 4 bits where something wider was chosen. */
function narrower({ precision, convertible }: MemoryQuestion): PackagePrecision | undefined {
  const wide: readonly Precision[] = ["fp32", "fp16", "w8a8"];
  return convertible && wide.includes(precision.decoder)
    ? { decoder: "q4", vision: "w8a8" }
    : undefined;
}

function gigabytes(bytes: number): string {
  return `${(bytes / 1e9).toFixed(1)} GB`;
}
