// quantization_config of a checkpoint: who quantised it, and how its parts are packed. In: config.json. Out: settings
// that the reader of weights follows, or undefined for a method whose weights it cannot read. Reads no tensors.

import { type Int4Config, parseAutoRound, parseAwq, parseGptq } from "./int4-config.ts";
import type { JsonFields } from "./json-fields.ts";
import type { ScaleBlock } from "./scaled-weight.ts";
import { unreadable } from "./unreadable-form.ts";

export type QuantizationConfig =
  | {
      readonly method: "fp8" | "compressed-tensors";
      /** Weights that share a scale, beside one for all and one for each row; of several, the one that fits counts. */
      readonly blocks: readonly ScaleBlock[];
    }
  | Int4Config;

/** Formats of compressed-tensors whose parts are known here. */
const COMPRESSED_FORMATS = [
  "pack-quantized",
  "float-quantized",
  "int-quantized",
  "naive-quantized",
  "mixed-precision",
];
/** What transformers takes where no size is given. */
const FP8_BLOCK: ScaleBlock = { rows: 128, columns: 128 };

/**
 * @returns undefined when there is none, or one of a method that is not known here
 * @throws ModelLoadError `model-unsupported` for a form of a known method that cannot be read, by name
 */
export function parseQuantizationConfig(config: JsonFields): QuantizationConfig | undefined {
  const holder = [config, config.objectOrUndefined("text_config")].find((fields) =>
    fields?.has("quantization_config"),
  );
  if (holder === undefined) return undefined;
  const method = holder.stringInside("quantization_config", "quant_method");
  if (method === undefined) return undefined;
  const fields = holder.object("quantization_config");
  switch (method) {
    case "fp8":
      return parseFp8(fields);
    case "gptq":
      return parseGptq(fields);
    case "awq":
      return parseAwq(fields);
    case "auto-round":
    case "intel/auto-round":
      return parseAutoRound(fields);
    case "compressed-tensors":
      return parseCompressed(fields);
    default:
      return undefined;
  }
}

function parseFp8(fields: JsonFields): QuantizationConfig {
  const name = "weight_block_size";
  return { method: "fp8", blocks: [fields.has(name) ? blockSize(fields, name) : FP8_BLOCK] };
}

function parseCompressed(fields: JsonFields): QuantizationConfig {
  const format = fields.stringOrUndefined("format") ?? "naive-quantized";
  if (!COMPRESSED_FORMATS.includes(format)) {
    throw unreadable("compressed-tensors", `format ${format}`, COMPRESSED_FORMATS.join(", "));
  }
  const transforms = fields.objectOrUndefined("transform_config");
  if (transforms?.has("config_groups") && transforms.object("config_groups").keys().length > 0) {
    throw unreadable("compressed-tensors", "transform_config (rotated weights)", "none");
  }
  const sparsity = fields.objectOrUndefined("sparsity_config")?.stringOrUndefined("format");
  if (sparsity !== undefined && sparsity !== "dense") {
    throw unreadable("compressed-tensors", `sparsity_config of format ${sparsity}`, "dense");
  }
  const groups = fields.objectOrUndefined("config_groups");
  const schemes = (groups?.keys() ?? []).flatMap((name) => {
    // A group may also be the name of a preset scheme; none of those has blocks.
    const isObject = groups?.text(name).startsWith("{");
    return (isObject && groups?.object(name).objectOrUndefined("weights")) || [];
  });
  return { method: "compressed-tensors", blocks: schemes.flatMap(compressedBlocks) };
}

function compressedBlocks(weights: JsonFields): ScaleBlock[] {
  if (weights.has("block_structure")) {
    // In older files `"128x128"`.
    const text = weights.text("block_structure");
    const old = /^"(\d+)x(\d+)"$/.exec(text);
    if (old !== null) return [{ rows: Number(old[1]), columns: Number(old[2]) }];
    return [blockSize(weights, "block_structure")];
  }
  const columns = weights.number("group_size", { integer: true, min: -1 }, -1);
  return columns > 0 ? [{ rows: 1, columns }] : [];
}

function blockSize(fields: JsonFields, name: string): ScaleBlock {
  const [rows, columns, ...more] = fields.numbers(name, { integer: true, min: 1 });
  if (rows === undefined || columns === undefined || more.length > 0) {
    throw fields.wrong(name, "two integers");
  }
  return { rows, columns };
}
