// How large pictures may be on this machine: the most tokens for which a first word about a new one is expected in time.
// In: the sizes of a model, its precision, a profile. Out: a number of tokens, and how long that is expected to take.

import type { Qwen3VlConfig } from "../checkpoint/config.ts";
import {
  CPU_PRECISIONS,
  type CpuPrecision,
  type ProductPrecision,
} from "../convert/linear-layers.ts";
import type { PackageManifest } from "../convert/manifest.ts";
import { type MachineProfile, manyRowsSpeed } from "./machine-profile.ts";

export interface ImageBudget {
  readonly maxImageTokens: number;
  /** Expected time to the first word about one new picture of this size. */
  readonly expectedFirstTokenMs: number;
}

/** No picture is worth less, and none needs more to be read. */
const FEWEST_TOKENS = 128;
export const MOST_IMAGE_TOKENS = 1024;
/** Tokens of a question, and of what stands around it. */
const QUESTION_TOKENS = 64;
/** What products take of the time; the rest is norms, rotations and moving data. */
const PRODUCT_SHARE = 0.8;
/** What attention reaches of the speed of fp32 products. */
const ATTENTION_SHARE = 0.6;

/**
 * The largest budget from 128 to 1024 tokens whose first word is expected within `targetMs`; 128 where none is.
 *
 * @param targetMs milliseconds
 */
export function imageBudget(
  profile: MachineProfile,
  config: Qwen3VlConfig,
  precision: PackageManifest["precision"],
  targetMs: number,
): ImageBudget {
  const expect = (tokens: number) => firstTokenMs(profile, config, precision, tokens);
  let [fits, tooMany] = [FEWEST_TOKENS, MOST_IMAGE_TOKENS + 1];
  while (tooMany - fits > 1) {
    const middle = (fits + tooMany) >> 1;
    if (expect(middle) <= targetMs) fits = middle;
    else tooMany = middle;
  }
  return { maxImageTokens: fits, expectedFirstTokenMs: Math.round(expect(fits)) };
}

/** What any machine that runs a model at all does in a second, in 10^9 operations. */
const SLOWEST = 20;

/** Is the largest budget in time on any machine? Then none needs to be measured. */
export function isFastAnywhere(config: Qwen3VlConfig, targetMs: number): boolean {
  const products = CPU_PRECISIONS.map((precision) => ({
    precision,
    rows: 1,
    gigaOps: SLOWEST,
    gigaBytes: SLOWEST,
  }));
  const slowest = {
    cpu: "",
    threads: 1,
    onnxRuntime: "",
    products,
    attention: [],
    gigaBytes: SLOWEST,
  };
  const precision = { decoder: "fp32", vision: "fp32" } as const;
  return firstTokenMs(slowest, config, precision, MOST_IMAGE_TOKENS) <= targetMs;
}

/** Milliseconds to see a picture of so many tokens and to read it with a question. */
export function firstTokenMs(
  profile: MachineProfile,
  { text, vision }: Qwen3VlConfig,
  precision: PackageManifest["precision"],
  tokens: number,
): number {
  const patches = tokens * vision.mergeSize ** 2;
  const merged = vision.hiddenSize * vision.mergeSize ** 2;
  const mergers = 1 + vision.deepstackLayers.length;
  const seen =
    patches *
      vision.depth *
      (4 * vision.hiddenSize ** 2 + 2 * vision.hiddenSize * vision.intermediateSize) +
    tokens * mergers * (merged ** 2 + merged * vision.outHiddenSize);
  const looked = 2 * vision.depth * patches ** 2 * vision.hiddenSize;

  const prompt = tokens + QUESTION_TOKENS;
  const width = text.heads * text.headSize;
  const perToken =
    2 * text.hiddenSize * width +
    2 * text.hiddenSize * text.kvHeads * text.headSize +
    3 * text.hiddenSize * text.intermediateSize;
  const read = prompt * text.layers * perToken;
  const remembered = text.layers * prompt ** 2 * width; // half of it is masked

  const fp32 = manyRowsSpeed(profile, "fp32") * ATTENTION_SHARE;
  return (
    milliseconds(seen, manyRowsSpeed(profile, onCpu(precision.vision)) * PRODUCT_SHARE) +
    milliseconds(read, manyRowsSpeed(profile, onCpu(precision.decoder)) * PRODUCT_SHARE) +
    milliseconds(looked + remembered, fp32)
  );
}

/** What a CPU computes in where a package has 16 bits. */
function onCpu(precision: ProductPrecision): CpuPrecision {
  return CPU_PRECISIONS.find((known) => known === precision) ?? "fp32";
}

/** Of multiplications that are added up, each two operations. */
function milliseconds(products: number, gigaOps: number): number {
  return (2 * products) / (gigaOps * 1e6);
}
