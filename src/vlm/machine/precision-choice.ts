// Which number format a checkpoint is converted to when nobody says: by what this machine multiplies fastest, and by
// the memory it has. In: a checkpoint. Out: a precision of the decoder, and why.

import { join } from "node:path";
import type { Qwen3VlConfig } from "../checkpoint/config.ts";
import { openCheckpoint, readModelSettings } from "../checkpoint/open-checkpoint.ts";
import { DEFAULT_PRECISION } from "../convert/ensure-package.ts";
import type { Precision } from "../convert/linear-layers.ts";
import { freeMemory } from "../runtime/free-memory.ts";
import { decoderWeights } from "./decoder-weights.ts";
import {
  type MachineOptions,
  type MachineProfile,
  machineProfile,
  manyRowsSpeed,
  oneRowSpeed,
} from "./machine-profile.ts";

export interface PrecisionChoice {
  readonly precision: Precision;
  /** For people: what it was weighed against. */
  readonly reason: string;
}

/** A turn as bots have them: a picture and a question, and an answer of a few sentences. */
const PROMPT_TOKENS = 400;
const ANSWER_TOKENS = 60;
/** Faster than that, nobody notices a difference. */
const SOON_MS = 500;
/** 4 bits lose more than 8, and whatever else a machine does while it is measured blurs the difference. */
const WORTH_LOSING = 0.5;
/** Of models with fewer weights no machine makes anybody wait, so none is measured. */
const FEW_WEIGHTS = 50_000_000;
/** Bytes of a weight in memory. */
export const BYTES = { w8a8: 1, q4: 0.55 };
/** What a model takes beside its weights. */
const OTHER_BYTES = 1.5 * 2 ** 30;

/**
 * The precision of a conversion when nobody names one. Measures this machine unless that was done before.
 *
 * @param checkpointDir one that cannot be read gets the usual precision: whoever converts it says what is wrong
 */
export async function precisionForCheckpoint(
  checkpointDir: string,
  options: MachineOptions = {},
): Promise<Precision> {
  const settings: Measured | undefined = await readModelSettings(checkpointDir).catch(() =>
    quantized(checkpointDir),
  );
  if (settings?.int4 === true) return "q4";
  if (settings === undefined || decoderWeights(settings.config) < FEW_WEIGHTS) {
    return DEFAULT_PRECISION;
  }
  const profile = await machineProfile(join(checkpointDir, "onnx"), options);
  return choosePrecisionFor(profile, settings.config, freeMemory()).precision;
}

interface Measured {
  readonly config: Qwen3VlConfig;
  /** Levels in 4 bits are stored, which precision q4 keeps as they are. */
  readonly int4?: boolean;
}

/** Of a checkpoint whose settings alone do not tell what its weights are. */
async function quantized(checkpointDir: string): Promise<Measured | undefined> {
  const checkpoint = await openCheckpoint(checkpointDir).catch(() => undefined);
  if (checkpoint === undefined) {
    return readModelSettings(checkpointDir, { weightsComing: true }).catch(() => undefined);
  }
  const int4 = [...checkpoint.tensors].some(
    ([name, weight]) => weight.int4 !== undefined && !name.startsWith("model.visual."),
  );
  await checkpoint.close();
  return { config: checkpoint.config, int4 };
}

/**
 * w8a8, unless 4-bit weights make a turn twice as fast, or w8a8 does not fit into memory.
 *
 * @param freeBytes that this process may still take
 */
export function choosePrecisionFor(
  profile: MachineProfile,
  config: Qwen3VlConfig,
  freeBytes: number,
): PrecisionChoice {
  const weights = decoderWeights(config);
  // Where 4 bits do not fit either, the estimate of the load says so, with the least that is needed.
  if (weights * BYTES.w8a8 + OTHER_BYTES >= freeBytes) {
    const gigabytes = ((weights * BYTES.w8a8) / 1e9).toFixed(1);
    return { precision: "q4", reason: `the ${gigabytes} GB of w8a8 do not fit into memory` };
  }
  const int8 = turnMs(profile, "w8a8", weights);
  const int4 = turnMs(profile, "q4", weights);
  const seconds = (ms: number) => (ms / 1000).toFixed(1);
  const reason = `a turn is expected to take ${seconds(int8)} s in w8a8 and ${seconds(int4)} s in q4`;
  const isWorthIt = int8 > SOON_MS && int4 < WORTH_LOSING * int8;
  return { precision: isWorthIt ? "q4" : "w8a8", reason };
}

function turnMs(profile: MachineProfile, precision: "w8a8" | "q4", weights: number): number {
  const reading = (2 * PROMPT_TOKENS * weights) / (manyRowsSpeed(profile, precision) * 1e6);
  const writing =
    (ANSWER_TOKENS * weights * BYTES[precision]) / (oneRowSpeed(profile, precision) * 1e6);
  return reading + writing;
}
