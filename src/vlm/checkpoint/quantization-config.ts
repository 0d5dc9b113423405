// quantization_config of a checkpoint: who quantised it, and how its parts are packed. In: config.json. Out: settings
// that the reader of weights follows, or undefined for a method whose weights it cannot read. Reads no tensors.

import { ModelLoadError } from "../errors.ts";
import type { JsonFields } from "./json-fields.ts";
import type { ScaleBlock } from "./scaled-weight.ts";

export type QuantizationConfig =
  | { readonly method: "fp8"; readonly block: ScaleBlock | undefined }
  | {
      readonly method: "gptq" | "awq";
      /** Zero points of GPTQ are stored less one, unless they are of version 2. */
      readonly packing: "gptq" | "gptq-v2" | "awq";
      readonly group: number | "row";
      readonly symmetric: boolean;
    }
  | { readonly method: "compressed-tensors" };

/** Formats of compressed-tensors whose parts are known here. */
const COMPRESSED_FORMATS = [
  "pack-quantized",
  "float-quantized",
  "int-quantized",
  "naive-quantized",
  "mixed-precision",
];

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
    case "compressed-tensors":
      return parseCompressed(fields);
    default:
      return undefined;
  }
}

function parseFp8(fields: JsonFields): QuantizationConfig {
  if (!fields.has("weight_block_size")) return { method: "fp8", block: undefined };
  const [rows, columns, ...more] = fields.numbers("weight_block_size", { integer: true, min: 1 });
  if (rows === undefined || columns === undefined || more.length > 0) {
    throw fields.wrong("weight_block_size", "two integers");
  }
  return { method: "fp8", block: { rows, columns } };
}

function parseGptq(fields: JsonFields): QuantizationConfig {
  refuseBits(fields, "GPTQ", "bits");
  const format = fields.stringOrUndefined("checkpoint_format") ?? "gptq";
  if (format !== "gptq" && format !== "gptq_v2") {
    throw unreadable("GPTQ", `checkpoint_format ${format}`, "gptq or gptq_v2");
  }
  return {
    method: "gptq",
    packing: format === "gptq_v2" ? "gptq-v2" : "gptq",
    group: groupSize(fields, "group_size"),
    symmetric: fields.boolean("sym", false),
  };
}

function parseAwq(fields: JsonFields): QuantizationConfig {
  refuseBits(fields, "AWQ", fields.has("w_bit") ? "w_bit" : "bits");
  const version = (fields.stringOrUndefined("version") ?? "gemm").toLowerCase();
  if (version !== "gemm") throw unreadable("AWQ", `version ${version}`, "gemm");
  const name = fields.has("q_group_size") ? "q_group_size" : "group_size";
  return { method: "awq", packing: "awq", group: groupSize(fields, name), symmetric: false };
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
  return { method: "compressed-tensors" };
}

function groupSize(fields: JsonFields, name: string): number | "row" {
  const size = fields.number(name, { integer: true, min: -1 }, 128);
  if (size === 0) throw fields.wrong(name, "-1 or an integer >= 1");
  return size === -1 ? "row" : size;
}

function refuseBits(fields: JsonFields, method: string, name: string): void {
  const bits = fields.integer(name, 1, 4);
  if (bits !== 4) throw unreadable(method, `${name} ${bits}`, "4");
}

function unreadable(method: string, what: string, known: string): ModelLoadError {
  return new ModelLoadError(
    "model-unsupported",
    `This ${method} checkpoint has ${what}; what can be read is ${known}. Use the bf16 checkpoint, the converter quantises it.`,
  );
}
