// Tokens of other sequences in the run of a prompt. In: queries, keys and values of a run whose last J tokens are the
// next tokens of J other sequences, and what attention made of them as if all were one sequence. Out: the same with the
// rows of those J corrected, each having looked at its own sequence. Everything else in the decoder goes row by row, so
// that a prompt and those who write share one reading of the weights.
//
// in   joined                        int32 [1]           J, or 0
// in   joined_places                 int64 [J, 1, 2]     0 and the index of the token in the run, for each
// in   joined_seqlens_k              int32 [J]           as seqlens_k, of their sequences
// in   joined_total_sequence_length  int32 []
// in   joined_key_values.L.key/.value  f32 [J, kv_heads, D, hd]
// out  joined_present.L.key/.value     f32 [J, kv_heads, D, hd]   bind to the same memory: in place
// Where keys and values are kept in int8, so are these, with the same scales; values too large for them are cut off.
//
// A run without such tokens leaves all of them out. Attention over the prompt's own cache takes the J tokens for tokens of
// the prompt: it appends them behind it, where the next run overwrites them.

import type { TextConfig } from "../checkpoint/config.ts";
import { int8Lookup } from "./cached-attention.ts";
import { type Dimension, elementTypeCode, OnnxModel } from "./onnx-model.ts";

/** Tensors of one layer, all (1, S, width). */
export interface LayerAttention {
  readonly queries: string;
  readonly keys: string;
  readonly values: string;
  /** What attention made of them. */
  readonly attended: string;
}

/** Writes inputs, and a node for each layer, into a decoder. */
export class JoinedAttention {
  readonly #model: OnnxModel;
  readonly #text: TextConfig;
  readonly #int8: boolean;

  constructor(model: OnnxModel, text: TextConfig, cache: "fp32" | "int8") {
    this.#model = model;
    this.#text = text;
    this.#int8 = cache === "int8";
  }

  writeInputs(): void {
    const model = this.#model;
    model.optionalInput("joined", "i32", [1], { shape: [1], values: [0] });
    model.node("Cast", "joined.any", ["joined"], { to: { int: elementTypeCode("bool") } });
    const place = { shape: [1, 1, 2], values: [0, 0] };
    model.optionalInput("joined_places", "i64", ["joined", 1, 2], place);
    model.optionalInput("joined_seqlens_k", "i32", ["joined"], { shape: [1], values: [0] });
    model.optionalInput("joined_total_sequence_length", "i32", [], { shape: [], values: [1] });
  }

  /** @returns the name of the corrected rows, (1, S, heads * hd) */
  write(layer: number, { queries, keys, values, attended }: LayerAttention): string {
    const model = this.#model;
    const { heads, kvHeads, headSize } = this.#text;
    const name = `layers.${layer}.self_attn.joined`;
    const kv = ["key", "value"] as const;
    const past = kv.map((part) => `joined_key_values.${layer}.${part}`);
    const present = kv.map((part) => `joined_present.${layer}.${part}`);
    const type = this.#int8 ? "i8" : "f32";
    const scaled = this.#int8 ? int8Lookup(layer) : { inputs: [], attributes: {} };
    const cache: Dimension[] = ["joined", kvHeads, "joined_capacity", headSize];
    const nothing = { shape: [1, kvHeads, 1, headSize], values: Array(kvHeads * headSize).fill(0) };
    for (const input of past) model.optionalInput(input, type, cache, nothing);
    for (const output of present) model.output(output, type, cache);

    const join = new OnnxModel(`${name}.then`);
    const rows = [queries, keys, values].map((x) =>
      join.node("GatherND", `${name}.${x}`, [x, "joined_places"]),
    ); // (J, 1, width)
    join.nodeWithOutputs({
      name: `${name}.mixed`,
      domain: "com.microsoft",
      op: "GroupQueryAttention",
      inputs: [
        ...rows,
        ...past,
        "joined_seqlens_k",
        "joined_total_sequence_length",
        ...scaled.inputs,
      ],
      outputs: [`${name}.mixed`, `${name}.key`, `${name}.value`],
      attributes: {
        num_heads: { int: heads },
        kv_num_heads: { int: kvHeads },
        do_rotary: { int: 0 },
        ...scaled.attributes,
      },
    });
    join.node("ScatterND", `${name}.corrected`, [attended, "joined_places", `${name}.mixed`]);
    const all: Dimension[] = ["batch", "sequence", heads * headSize];
    join.output(`${name}.corrected`, "f32", all);
    for (const part of kv) join.output(`${name}.${part}`, type, cache);

    const leave = new OnnxModel(`${name}.else`);
    leave.output(leave.node("Identity", `${name}.alone`, [attended]), "f32", all);
    for (const [index, part] of kv.entries()) {
      leave.output(leave.node("Identity", `${name}.no_${part}`, [past[index]!]), type, cache);
    }
    model.nodeWithOutputs({
      name,
      domain: "",
      op: "If",
      inputs: ["joined.any"],
      outputs: [name, ...present],
      attributes: { then_branch: { graph: join }, else_branch: { graph: leave } },
    });
    return name;
  }
}
