// In which number format keys and values are kept on this machine. In: what it measured, and the weights of a model. Out: a
// format. Exact weights have exact keys and values; else it is whichever is faster for a turn as bots have them.

import type { CacheFormat } from "../convert/cached-attention.ts";
import type { Precision } from "../convert/linear-layers.ts";
import { MEASURED_CHUNK } from "./attention-speed.ts";
import type { MachineProfile } from "./machine-profile.ts";

/** New tokens of a question with a picture, and of its answer. */
const PROMPT_TOKENS = 400;
const ANSWER_TOKENS = 60;

export function chooseCacheFormat(
  { attention }: Pick<MachineProfile, "attention">,
  decoder: Precision,
): CacheFormat {
  if (decoder !== "w8a8" && decoder !== "q4") return "fp32";
  const turnMs = (format: CacheFormat) => {
    const found = attention.find(({ cache }) => cache === format);
    if (found === undefined) return Number.POSITIVE_INFINITY;
    return (PROMPT_TOKENS / MEASURED_CHUNK) * found.chunkMs + ANSWER_TOKENS * found.stepMs;
  };
  return turnMs("int8") < turnMs("fp32") ? "int8" : "fp32";
}
