// Which inputs of products a conversion measures. In: a model's sizes and the formats asked for. Out: the inputs of those
// products that round what they read, each with the format.

import type { Qwen3VlConfig } from "../checkpoint/config.ts";
import type { InputsInPrecision } from "./balance-inputs.ts";
import type { PackageFormats } from "./convert-options.ts";
import { headPrecision } from "./decoder-graph.ts";
import type { CpuPrecision, ProductPrecision } from "./linear-layers.ts";
import { decoderInputs, visionInputs } from "./product-inputs.ts";
import { type StoredInt4, touchesStored } from "./stored-int4.ts";

/** The inputs of all products, in the format that was asked for; none for a card. */
export function measuredInputs(
  config: Qwen3VlConfig,
  { precision: { decoder, vision }, device }: PackageFormats,
  stored: StoredInt4 = new Map(),
): InputsInPrecision[] {
  if (device !== "cpu") return [];
  const text = decoderInputs(config);
  return [
    { precision: vision, inputs: visionInputs(config) },
    // Beside levels that are kept, see `widerBesideStored`.
    { precision: stored.size > 0 ? "w8a8" : decoder, inputs: text.slice(0, -1) },
    { precision: headPrecision(decoder), inputs: text.slice(-1) },
  ].flatMap(({ precision, inputs }) => {
    if (!isForCpu(precision)) return [];
    return [{ precision, inputs: inputs.filter((input) => !touchesStored(input, stored)) }];
  });
}

/** Only there are inputs of products rounded; what a card multiplies has nothing to balance. */
function isForCpu(precision: ProductPrecision): precision is CpuPrecision {
  return precision === "fp32" || precision === "w8a8" || precision === "q4";
}
