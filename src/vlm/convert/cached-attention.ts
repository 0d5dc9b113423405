// Attention over keys and values that are kept, in three number formats: how they are written and read in the decoder's
// graph. In: queries, keys and values of this run, in f32. Out: what was looked up, and the kept ones with this run's
// appended in place. It knows nothing of weights.
//
// int8 needs no data to be scaled. Keys are normalised, so the weight of their norm bounds them: it is divided out, which
// queries make up for, and one constant scale holds for all. Values have a scale for each layer that grows:
//
// in   value_scales        f32 [layers]   what one level of a value stands for; above 0
// out  value_scales_used   f32 [layers]   larger than that where this run needed it. A run of more than FEW_TOKENS has
//                                         written its own values so; one of fewer has cut them off, and has to be repeated
//
// ONNX Runtime's int8 attention is fast for one token and slow for many; many read the kept ones as f32 instead.

import type { TextConfig } from "../checkpoint/config.ts";
import { type AttributeValue, elementTypeCode, OnnxModel } from "./onnx-model.ts";

export const CACHE_FORMATS = ["fp32", "fp16", "int8"] as const;
/** Number format of kept keys and values. */
export type CacheFormat = (typeof CACHE_FORMATS)[number];

/** Up to so many tokens are looked up in int8. */
export const FEW_TOKENS = 16;
/** By how much a scale that has to grow grows beyond what is needed, so that it seldom has to. */
export const SCALE_MARGIN = 1.5;

const MICROSOFT = "com.microsoft";
const LEVELS = 127;
const ELEMENTS = { fp32: "f32", fp16: "f16", int8: "i8" } as const;

export interface AttentionParts {
  /** Names of (B, S, heads * hd), (B, S, kv_heads * hd) and the same. */
  readonly queries: string;
  readonly keys: string;
  readonly values: string;
}

export type AttentionSizes = Pick<TextConfig, "layers" | "heads" | "kvHeads" | "headSize">;

/** The attention of all layers of a graph. */
export class CachedAttention {
  readonly #model: OnnxModel;
  readonly #text: AttentionSizes;
  readonly #format: CacheFormat;

  constructor(model: OnnxModel, text: AttentionSizes, format: CacheFormat) {
    this.#model = model;
    this.#text = text;
    this.#format = format;
  }

  /** What all layers share. */
  begin(): void {
    const { layers, headSize, kvHeads } = this.#text;
    if (this.#format !== "int8") return;
    const model = this.#model;
    const ones = Array.from({ length: layers }, () => 1);
    model.input("value_scales", "f32", [layers]);
    model.nodeWithOutputs({
      name: "value_scales.split",
      domain: "",
      op: "Split",
      inputs: ["value_scales", model.constant("value_scales.sizes", "i64", [layers], ones)],
      outputs: ones.map((_, layer) => scaleOf(layer)),
      attributes: { axis: { int: 0 } },
    });
    model.constant("key_scale", "f32", [1], [Math.sqrt(headSize) / LEVELS]);
    model.constant("zero_level", "i8", [], [0]);
    model.constant("level", "f32", [1], [1 / LEVELS]);
    model.constant("levels", "f32", [1], [LEVELS]);
    model.constant("level_and_margin", "f32", [1], [SCALE_MARGIN / LEVELS]);
    model.constant("split_heads", "i64", [4], [0, 0, kvHeads, headSize]);
    this.#places();
  }

  /** After the last layer. */
  end(): void {
    if (this.#format !== "int8") return;
    const used = Array.from({ length: this.#text.layers }, (_, layer) => usedScaleOf(layer));
    this.#model.node("Concat", "value_scales_used", used, { axis: { int: 0 } });
    this.#model.output("value_scales_used", "f32", [used.length]);
  }

  /** The weights with which queries and keys are normalised, (hd) each, so that keys are bounded. */
  normWeights(name: string, queries: string, keys: string): [queries: string, keys: string] {
    if (this.#format !== "int8") return [queries, keys];
    const model = this.#model;
    const { headSize } = this.#text;
    const halves = model.constant("half_heads", "i64", [2], [headSize / 2, headSize / 2]);
    // Rotation mixes an element with the one half a head away: both have the bound of the larger.
    const size = model.node("Abs", `${name}.k_size`, [keys]);
    model.nodeWithOutputs({
      name: `${name}.k_halves`,
      domain: "",
      op: "Split",
      inputs: [size, halves],
      outputs: [`${name}.k_first`, `${name}.k_second`],
      attributes: { axis: { int: 0 } },
    });
    const least = model.constant("least_weight", "f32", [1], [1e-6]);
    const bounds = [`${name}.k_first`, `${name}.k_second`, least];
    const half = model.node("Max", `${name}.k_half_bound`, bounds);
    const bound = model.node("Concat", `${name}.k_bound`, [half, half], { axis: { int: 0 } });
    return [
      model.node("Mul", `${name}.q_norm_bounded`, [queries, bound]),
      model.node("Div", `${name}.k_norm_bounded`, [keys, bound]),
    ];
  }

  /** @returns name of what was looked up, (B, S, heads * hd) */
  attend(layer: number, name: string, parts: AttentionParts): string {
    const { kvHeads, headSize } = this.#text;
    const shape = ["batch", kvHeads, "capacity", headSize] as const;
    for (const part of ["key", "value"] as const) {
      this.#model.input(past(layer, part), ELEMENTS[this.#format], shape);
      this.#model.output(present(layer, part), ELEMENTS[this.#format], shape);
    }
    if (this.#format === "int8") return this.#attendInt8(layer, name, parts);
    const f16 = this.#format === "fp16";
    const cast = (part: keyof AttentionParts) => {
      const to = { to: { int: elementTypeCode("f16") } };
      return f16 ? this.#model.node("Cast", `${name}.${part}_f16`, [parts[part]], to) : parts[part];
    };
    const mixed = f16 ? `${name}.f16` : name;
    this.#operator(this.#model, {
      name: mixed,
      inputs: [cast("queries"), cast("keys"), cast("values"), ...pasts(layer)],
      outputs: [mixed, present(layer, "key"), present(layer, "value")],
    });
    if (f16) this.#model.node("Cast", name, [mixed], { to: { int: elementTypeCode("f32") } });
    return name;
  }

  #attendInt8(layer: number, name: string, parts: AttentionParts): string {
    const { heads, kvHeads, headSize } = this.#text;
    const [many, few] = [this.#many(layer, name, parts), this.#few(layer, name, parts)];
    for (const branch of [many, few]) {
      const kept = ["batch", kvHeads, "capacity", headSize] as const;
      branch.output(`${branch.name}.mixed`, "f32", ["batch", "sequence", heads * headSize]);
      branch.output(`${branch.name}.key`, "i8", kept);
      branch.output(`${branch.name}.value`, "i8", kept);
      branch.output(`${branch.name}.scale`, "f32", [1]);
    }
    this.#model.nodeWithOutputs({
      name,
      domain: "",
      op: "If",
      inputs: ["many_tokens"],
      outputs: [name, present(layer, "key"), present(layer, "value"), usedScaleOf(layer)],
      attributes: { then_branch: { graph: many }, else_branch: { graph: few } },
    });
    return name;
  }

  /** Of one sequence. */
  #many(layer: number, name: string, { queries, keys, values }: AttentionParts): OnnxModel {
    const branch = new OnnxModel(`${name}.many`);
    const own = (part: string) => `${branch.name}.${part}`;
    const read = (part: "key" | "value", scale: string) => {
      const from = [past(layer, part), "first_token", "tokens_before", "token_axis"];
      const kept = branch.node("Slice", own(`${part}.before`), from);
      return branch.node("DequantizeLinear", own(`${part}.f32`), [kept, scale, "zero_level"]);
    };
    const before = [read("key", "key_scale"), read("value", scaleOf(layer))];
    this.#operator(branch, {
      name: own("mixed"),
      inputs: [queries, keys, values, ...before],
      outputs: [own("mixed"), own("key.grown"), own("value.grown")],
    });
    const limit = branch.node("Mul", own("limit"), [scaleOf(layer), "levels"]);
    const peak = peakOf(branch, values);
    const over = branch.node("Greater", own("over"), [peak, limit]);
    const wanted = branch.node("Mul", own("wanted"), [peak, "level_and_margin"]);
    const used = branch.node("Where", own("scale"), [over, wanted, scaleOf(layer)]);
    for (const [part, source, scale] of [
      ["key", keys, "key_scale"],
      ["value", values, used],
    ] as const) {
      const split = branch.node("Reshape", own(`${part}.heads`), [source, "split_heads"]);
      const perHead = { perm: { ints: [0, 2, 1, 3] } };
      const turned = branch.node("Transpose", own(`${part}.by_head`), [split], perHead);
      const levels = [turned, scale, "zero_level"];
      const rows = branch.node("QuantizeLinear", own(`${part}.levels`), levels);
      branch.node("ScatterND", own(part), [past(layer, part), "places", rows]);
    }
    return branch;
  }

  #few(layer: number, name: string, { queries, keys, values }: AttentionParts): OnnxModel {
    const branch = new OnnxModel(`${name}.few`);
    const own = (part: string) => `${branch.name}.${part}`;
    this.#operator(branch, {
      name: own("mixed"),
      inputs: [queries, keys, values, ...pasts(layer)],
      outputs: [own("mixed"), own("key"), own("value")],
      scaled: int8Lookup(layer),
    });
    const needed = branch.node("Mul", own("needed"), [peakOf(branch, values), "level"]);
    branch.node("Max", own("scale"), [needed, scaleOf(layer)]);
    return branch;
  }

  #operator(
    graph: OnnxModel,
    node: {
      readonly name: string;
      readonly inputs: readonly string[];
      readonly outputs: readonly string[];
      readonly scaled?: Int8Lookup;
    },
  ): void {
    const { heads, kvHeads } = this.#text;
    graph.nodeWithOutputs({
      name: node.name,
      domain: MICROSOFT,
      op: "GroupQueryAttention",
      inputs: [
        ...node.inputs,
        "seqlens_k",
        "total_sequence_length",
        ...(node.scaled?.inputs ?? []),
      ],
      // Both present outputs must be there: without them the operator is silently wrong.
      outputs: node.outputs,
      attributes: {
        num_heads: { int: heads },
        kv_num_heads: { int: kvHeads },
        do_rotary: { int: 0 },
        ...node.scaled?.attributes,
      },
    });
  }

  /** How many tokens were there before, and where those of this run go: (1, kv_heads, S, 3) row, head and token. */
  #places(): void {
    const model = this.#model;
    const { kvHeads } = this.#text;
    const i64 = { to: { int: elementTypeCode("i64") } };
    const second = { start: { int: 1 }, end: { int: 2 } };
    model.node("Shape", "tokens_1d", ["inputs_embeds"], second);
    model.node("Squeeze", "tokens", ["tokens_1d"]);
    model.constant("few_tokens", "i64", [], [FEW_TOKENS]);
    model.node("Greater", "many_tokens", ["tokens", "few_tokens"]);
    model.node("Cast", "tokens_after", ["total_sequence_length"], i64);
    model.node("Sub", "tokens_before_0d", ["tokens_after", "tokens"]);
    model.constant("any_length", "i64", [1], [-1]);
    model.node("Reshape", "tokens_before", ["tokens_before_0d", "any_length"]);
    model.constant("first_token", "i64", [1], [0]);
    model.constant("token_axis", "i64", [1], [2]);
    model.constant("one_token", "i64", [], [1]);
    model.node("Range", "token_numbers", ["tokens_before_0d", "tokens_after", "one_token"]);
    model.constant("as_places", "i64", [4], [1, 1, -1, 1]);
    model.node("Reshape", "token_column", ["token_numbers", "as_places"]);
    const headNumbers = Array.from({ length: kvHeads }, (_, head) => head);
    model.constant("head_column", "i64", [1, kvHeads, 1, 1], headNumbers);
    model.node("Mul", "row_places", ["token_column", "first_token"]);
    model.node("Add", "head_places", ["row_places", "head_column"]);
    model.node("Mul", "zero_places", ["head_places", "first_token"]);
    model.node("Add", "token_places", ["zero_places", "token_column"]);
    const columns = ["zero_places", "head_places", "token_places"];
    model.node("Concat", "places", columns, { axis: { int: 3 } });
  }
}

/** What the operator is told besides, to look up in int8. */
export interface Int8Lookup {
  /** Behind `total_sequence_length`. */
  readonly inputs: readonly string[];
  readonly attributes: Readonly<Record<string, AttributeValue>>;
}

/** In a layer of a graph whose attention is a {@link CachedAttention} in int8. */
export function int8Lookup(layer: number): Int8Lookup {
  return {
    inputs: ["", "", "", "", "", "key_scale", scaleOf(layer)],
    attributes: {
      k_quant_type: { string: "PER_TENSOR" },
      v_quant_type: { string: "PER_TENSOR" },
      kv_cache_bit_width: { int: 8 },
    },
  };
}

/** Largest size of a value of this run, [1]. */
function peakOf(branch: OnnxModel, values: string): string {
  const own = (part: string) => `${branch.name}.${part}`;
  const sizes = branch.node("Abs", own("sizes"), [values]);
  const peak = branch.node("ReduceMax", own("peak_3d"), [sizes], { keepdims: { int: 1 } });
  return branch.node("Reshape", own("peak"), [peak, "any_length"]);
}

function past(layer: number, part: "key" | "value"): string {
  return `past_key_values.${layer}.${part}`;
}

function pasts(layer: number): [string, string] {
  return [past(layer, "key"), past(layer, "value")];
}

function present(layer: number, part: "key" | "value"): string {
  return `present.${layer}.${part}`;
}

function scaleOf(layer: number): string {
  return `value_scales.${layer}`;
}

function usedScaleOf(layer: number): string {
  return `value_scales_used.${layer}`;
}
