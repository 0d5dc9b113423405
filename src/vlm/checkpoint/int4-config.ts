// Settings of weights in 4 bits as GPTQ, AWQ and AutoRound write them. In: quantization_config. Out: how levels, scales
// and zero points are packed, or an error that names what cannot be read. Reads no tensors.

import type { JsonFields } from "./json-fields.ts";
import { unreadable } from "./unreadable-form.ts";

export interface Int4Config {
  readonly method: "gptq" | "awq";
  /** Who wrote it, for people. */
  readonly writer: "GPTQ" | "AWQ" | "AutoRound";
  /** Zero points of GPTQ are stored less one, unless they are of version 2. */
  readonly packing: "gptq" | "gptq-v2" | "awq";
  /** Weights per scale; where modules have sizes of their own, the one that fits counts. */
  readonly groups: readonly (number | "row")[];
  /** Every zero point is in the middle. */
  readonly symmetric: boolean;
}

/** Formats of AutoRound's own, and how others call them. */
const AUTO_ROUND_PACKING: Readonly<Record<string, Int4Config["packing"]>> = {
  auto_round: "gptq-v2",
  "auto_round:gptqmodel": "gptq-v2",
  "auto_round:auto_gptq": "gptq",
  "auto_round:gptq": "gptq",
  "auto_round:auto_awq": "awq",
  "auto_round:awq": "awq",
};
const DEFAULT_GROUP = 128;

/** @throws ModelLoadError */
export function parseGptq(fields: JsonFields): Int4Config {
  refuseBits(fields, "GPTQ", "bits");
  // Newer tools write both names, or the second.
  const name = fields.has("checkpoint_format") ? "checkpoint_format" : "format";
  const format = fields.stringOrUndefined(name) ?? "gptq";
  if (format !== "gptq" && format !== "gptq_v2") {
    throw unreadable("GPTQ", `${name} ${format}`, "gptq or gptq_v2");
  }
  const own = overrides(fields, "dynamic").filter(([module]) => !module.startsWith("-:"));
  for (const [module, settings] of own) {
    if (settings.has("bits")) refuseBits(settings, "GPTQ", "bits", ` in dynamic for ${module}`);
  }
  const all = [fields, ...own.map(([, settings]) => settings)];
  return {
    method: "gptq",
    writer: "GPTQ",
    packing: format === "gptq_v2" ? "gptq-v2" : "gptq",
    groups: groupSizes(all),
    symmetric: isSymmetric(all),
  };
}

/** @throws ModelLoadError */
export function parseAwq(fields: JsonFields): Int4Config {
  refuseBits(fields, "AWQ", fields.has("w_bit") ? "w_bit" : "bits");
  // As transformers reads it: `version` of old files, `format` of new ones.
  const name = ["version", "format", "checkpoint_format"].find((each) => fields.has(each));
  const format = (name === undefined ? "gemm" : fields.string(name)).toLowerCase();
  if (format !== "gemm") throw unreadable("AWQ", `${name} ${format}`, "gemm");
  const groups = groupSizes([fields], fields.has("q_group_size") ? "q_group_size" : "group_size");
  return { method: "awq", writer: "AWQ", packing: "awq", groups, symmetric: false };
}

/** @throws ModelLoadError */
export function parseAutoRound(fields: JsonFields): Int4Config {
  refuseBits(fields, "AutoRound", "bits");
  const format = fields.stringOrUndefined("packing_format") ?? "auto_round:auto_gptq";
  const packing = Object.hasOwn(AUTO_ROUND_PACKING, format)
    ? AUTO_ROUND_PACKING[format]
    : undefined;
  if (packing === undefined) {
    const known = Object.keys(AUTO_ROUND_PACKING).join(", ");
    throw unreadable("AutoRound", `packing_format ${format}`, known);
  }
  const type = fields.stringOrUndefined("data_type") ?? "int";
  if (type !== "int") throw unreadable("AutoRound", `data_type ${type}`, "int");
  const own = overrides(fields, "extra_config").filter(([module, settings]) => {
    const bits = settings.integer("bits", 1, 4);
    // Left in 16 bits: those are plain.
    if (bits !== 4 && bits < 16)
      refuseBits(settings, "AutoRound", "bits", ` in extra_config for ${module}`);
    return bits === 4;
  });
  const all = [fields, ...own.map(([, settings]) => settings)];
  return {
    method: packing === "awq" ? "awq" : "gptq",
    writer: "AutoRound",
    packing,
    groups: groupSizes(all),
    symmetric: packing !== "awq" && isSymmetric(all),
  };
}

/** Settings of single modules, by a pattern of their names. */
function overrides(fields: JsonFields, name: string): (readonly [string, JsonFields])[] {
  const modules = fields.objectOrUndefined(name);
  return (modules?.keys() ?? []).flatMap((module) => {
    const settings = modules?.objectOrUndefined(module);
    return settings === undefined ? [] : [[module, settings] as const];
  });
}

function isSymmetric(all: readonly JsonFields[]): boolean {
  const [first, ...more] = all;
  const said = first?.boolean("sym", false) ?? false;
  return said && more.every((settings) => settings.boolean("sym", true));
}

function groupSizes(all: readonly JsonFields[], name = "group_size"): (number | "row")[] {
  const [first, ...more] = all;
  const written = [first, ...more.filter((settings) => settings.has(name))];
  const sizes = written.map((settings) => {
    const size = settings?.number(name, { integer: true, min: -1 }, DEFAULT_GROUP);
    if (size === 0) throw settings?.wrong(name, "-1 or an integer >= 1");
    return size === undefined || size === -1 ? "row" : size;
  });
  return [...new Set(sizes)];
}

function refuseBits(fields: JsonFields, method: string, name: string, where = ""): void {
  const bits = fields.integer(name, 1, 4);
  if (bits !== 4) throw unreadable(method, `${name} ${bits}${where}`, "4");
}
