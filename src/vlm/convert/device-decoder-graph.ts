// decoder.onnx for graphics cards: token ids in, candidates out, keys and values appended in place, and as few
// operators as possible, since each is a launch. Token embeddings are looked up in the graph and the best candidates
// chosen there, so that a step takes a few bytes over the bus. Names as in decoder-graph.ts where they mean the same;
// P = rows of the rotary tables, k = candidates.
//
// in   input_ids                    int64 [B, S]
// in   image_mask                   bool  [MB, MS, 1]     true where a token is a picture's; broadcast
// in   image_embeds                 f16   [IB, IS, H]     features on rows of pictures; broadcast
// in   deepstack_embeds             f16   [K, DB, DS, H]  added after layers 0 .. K-1; zeros on rows of text; broadcast
// in   position_ids                 int64 [B, S]          row of the rotary tables
// in   rotary_cos, rotary_sin       f16   [P, hd / 2]     P at least total_sequence_length
// in   seqlens_k                    int32 [B]             valid length after this run, minus 1
// in   total_sequence_length        int32 []              on the CPU
// in   logit_rows                   int64 [R]
// in   past_key_values.L.key/.value f16   [B, kv_heads, C, hd]
// out  logits                       f32   [R, vocabulary]
// out  top_scores, top_ids          f32, int64 [R, k]     largest first
// out  present.L.key/.value         f16   [B, kv_heads, C, hd]   bind to the same memory as past
//
// `fused` norms and rotates queries and keys inside the attention, which no CPU kernel does; `composed` writes the
// same with operators that the CPU has too, and is what the goldens are compared with there.

import type { Qwen3VlConfig, TextConfig } from "../checkpoint/config.ts";
import { EMBED_TOKENS, LM_HEAD } from "../checkpoint/tensor-names.ts";
import { CANDIDATES, searchCandidates } from "./candidate-search.ts";
import { type DevicePrecision, LinearLayers, type ProductPrecision } from "./linear-layers.ts";
import { elementTypeCode, OnnxModel } from "./onnx-model.ts";
import type { StoredInt4 } from "./stored-int4.ts";
import type { PlannedGraph } from "./vision-graph.ts";

export type AttentionForm = "fused" | "composed";

const PREFIX = "model.language_model.";
const MICROSOFT = "com.microsoft";

export function deviceDecoderGraph(
  config: Qwen3VlConfig,
  precision: DevicePrecision,
  attention: AttentionForm,
  stored?: StoredInt4,
): PlannedGraph {
  const graph = new DeviceDecoderGraph(config, precision, attention, stored);
  graph.write();
  return { model: graph.model, plan: graph.layers.plan };
}

/** What a layer hands on: the sum so far, and what is still to be added to it. */
interface Stream {
  readonly residual: string;
  readonly pending: string;
}

class DeviceDecoderGraph {
  readonly model = new OnnxModel("decoder");
  readonly layers: LinearLayers;
  readonly #config: Qwen3VlConfig;
  readonly #text: TextConfig;
  readonly #precision: DevicePrecision;
  readonly #attention: AttentionForm;

  constructor(
    config: Qwen3VlConfig,
    precision: DevicePrecision,
    attention: AttentionForm,
    stored?: StoredInt4,
  ) {
    this.layers = new LinearLayers(this.model, "s8", undefined, stored);
    this.#config = config;
    this.#text = config.text;
    this.#precision = precision;
    this.#attention = attention;
  }

  write(): void {
    const { layers } = this.#text;
    const taps = this.#config.vision.deepstackLayers.length;
    const embedded = this.#embed();
    const deepstack = this.#deepstack(taps);
    this.#tables();
    let h: Stream | string = embedded;
    for (let layer = 0; layer < layers; layer++) {
      const { residual, pending } = this.#layer(layer, h);
      const tap = deepstack[layer];
      const added =
        tap === undefined
          ? pending
          : this.model.node("Add", `layers.${layer}.deepstacked`, [pending, tap]);
      h = { residual, pending: added };
    }
    this.#head(h as Stream);
  }

  /** The embedding of each token, or the features of a picture. -> (B, S, H) */
  #embed(): string {
    const { model } = this;
    const { hiddenSize, vocabSize } = this.#text;
    const ids = model.input("input_ids", "i64", ["batch", "sequence"]);
    const mask = model.input("image_mask", "bool", ["mask_batch", "mask_sequence", 1]);
    const images = model.input("image_embeds", "f16", [
      "image_batch",
      "image_sequence",
      hiddenSize,
    ]);
    const table = this.layers.values(EMBED_TOKENS, [vocabSize, hiddenSize], "f16");
    const words = model.node("Gather", "words", [table, ids], { axis: { int: 0 } });
    return model.node("Where", "embedded", [mask, images, words]);
  }

  /** One (DB, DS, H) for each of the first layers. */
  #deepstack(taps: number): string[] {
    const { model } = this;
    const { hiddenSize } = this.#text;
    const shape = [taps, "deepstack_batch", "deepstack_sequence", hiddenSize];
    const all = model.input("deepstack_embeds", "f16", shape);
    return Array.from({ length: taps }, (_, tap) => {
      const select = model.constant(`tap_${tap}`, "i64", [], [tap]);
      return model.node("Gather", `taps.${tap}`, [all, select], { axis: { int: 0 } });
    });
  }

  #tables(): void {
    const { model } = this;
    const { headSize } = this.#text;
    model.input("position_ids", "i64", ["batch", "sequence"]);
    model.input("rotary_cos", "f16", ["rotary_rows", headSize / 2]);
    model.input("rotary_sin", "f16", ["rotary_rows", headSize / 2]);
    model.input("seqlens_k", "i32", ["batch"]);
    model.input("total_sequence_length", "i32", []);
    model.input("logit_rows", "i64", ["rows"]);
  }

  #layer(index: number, h: Stream | string): Stream {
    const name = `layers.${index}`;
    const first = this.#addAndNorm(`${name}.input_layernorm`, h);
    const attention = this.#mix(index, first.normed);
    const second = this.#addAndNorm(`${name}.post_attention_layernorm`, {
      residual: first.sum,
      pending: attention,
    });
    return { residual: second.sum, pending: this.#mlp(name, second.normed) };
  }

  /** x (B, S, H) -> (B, S, H) */
  #mix(index: number, x: string): string {
    const { model } = this;
    const { heads, kvHeads, headSize, hiddenSize } = this.#text;
    const name = `layers.${index}.self_attn`;
    const width = (heads + 2 * kvHeads) * headSize;
    const sources = ["q_proj", "k_proj", "v_proj"].map((part) => `${PREFIX}${name}.${part}.weight`);
    const packed = this.#product(`${name}.packed`, x, sources, width, hiddenSize);
    for (const part of ["key", "value"]) {
      const shape = ["batch", kvHeads, "capacity", headSize];
      model.input(`past_key_values.${index}.${part}`, "f16", shape);
      model.output(`present.${index}.${part}`, "f16", shape);
    }
    const fused = this.#attention === "fused";
    const cache = [`past_key_values.${index}.key`, `past_key_values.${index}.value`];
    const lengths = ["seqlens_k", "total_sequence_length"];
    const inputs = fused
      ? [
          ...[packed, "", "", ...cache, ...lengths, "rotary_cos", "rotary_sin", "position_ids"],
          ...["", "", "", ""],
          this.layers.values(`${PREFIX}${name}.q_norm.weight`, [headSize], "f16"),
          this.layers.values(`${PREFIX}${name}.k_norm.weight`, [headSize], "f16"),
        ]
      : [...this.#composed(name, packed), ...cache, ...lengths];
    model.nodeWithOutputs({
      name: `${name}.mixed`,
      domain: MICROSOFT,
      op: "GroupQueryAttention",
      inputs,
      outputs: [`${name}.mixed`, `present.${index}.key`, `present.${index}.value`],
      attributes: {
        num_heads: { int: heads },
        kv_num_heads: { int: kvHeads },
        do_rotary: { int: fused ? 1 : 0 },
        ...(fused ? { qk_norm_epsilon: { float: this.#text.rmsNormEps } } : {}),
      },
    });
    const source = [`${PREFIX}${name}.o_proj.weight`];
    return this.#product(`${name}.out`, `${name}.mixed`, source, hiddenSize, heads * headSize);
  }

  /** Queries, keys and values out of the packed product, normed and rotated. */
  #composed(name: string, packed: string): string[] {
    const { model } = this;
    const { heads, kvHeads, headSize } = this.#text;
    const sizes = [heads, kvHeads, kvHeads].map((count) => count * headSize);
    model.nodeWithOutputs({
      name: `${name}.split`,
      domain: "",
      op: "Split",
      inputs: [packed, model.constant("qkv_sizes", "i64", [3], sizes)],
      outputs: [`${name}.q`, `${name}.k`, `${name}.v`],
      attributes: { axis: { int: -1 } },
    });
    const normAndRotate = (part: string, count: number) => {
      const x = `${name}.${part}`;
      const split = model.constant(`heads_${count}`, "i64", [4], [0, 0, count, headSize]);
      const perHead = model.node("Reshape", `${x}.heads`, [x, split]); // (B, S, heads, hd)
      const normed = this.#norm(`${x}_norm`, perHead, headSize);
      const join = model.constant(`width_${count}`, "i64", [3], [0, 0, count * headSize]);
      const joined = model.node("Reshape", `${x}.joined`, [normed, join]);
      const inputs = [joined, "rotary_cos", "rotary_sin", "position_ids"];
      return model.node("RotaryEmbedding", `${x}.rotated`, inputs, {
        num_heads: { int: count },
        interleaved: { int: 0 },
      });
    };
    return [normAndRotate("q", heads), normAndRotate("k", kvHeads), `${name}.v`];
  }

  /** down(silu(gate(x)) * up(x)); x (B, S, H) -> (B, S, H) */
  #mlp(layer: string, x: string): string {
    const { model } = this;
    const { hiddenSize: h, intermediateSize: f } = this.#text;
    const name = `${layer}.mlp`;
    const sources = ["gate_proj", "up_proj"].map((part) => `${PREFIX}${name}.${part}.weight`);
    const packed = this.#product(`${name}.packed`, x, sources, 2 * f, h);
    model.nodeWithOutputs({
      name: `${name}.split`,
      domain: "",
      op: "Split",
      inputs: [packed, model.constant("mlp_sizes", "i64", [2], [f, f])],
      outputs: [`${name}.gate`, `${name}.up`],
      attributes: { axis: { int: -1 } },
    });
    // x * sigmoid(x), in one operator.
    const alpha = { alpha: { float: 1 } };
    const silu = model.node("QuickGelu", `${name}.silu`, [`${name}.gate`], alpha, MICROSOFT);
    const inner = model.node("Mul", `${name}.inner`, [silu, `${name}.up`]);
    const down = [`${PREFIX}${name}.down_proj.weight`];
    return this.#product(`${name}.down`, inner, down, h, f);
  }

  /** Only the wanted rows reach the head. -> logits (R, vocabulary) and candidates */
  #head({ residual, pending }: Stream): void {
    const { model } = this;
    const { hiddenSize, vocabSize } = this.#text;
    const h = model.node("Add", "last", [residual, pending]);
    const flatShape = model.constant("flat_shape", "i64", [2], [-1, hiddenSize]);
    const flat = model.node("Reshape", "flat", [h, flatShape]); // (B * S, H)
    const wanted = model.node("Gather", "wanted", [flat, "logit_rows"], { axis: { int: 0 } });
    const normed = this.#norm("norm", wanted, hiddenSize);
    const source = this.#config.tiedEmbeddings ? EMBED_TOKENS : LM_HEAD;
    const weight = { sources: [source], rows: vocabSize, columns: hiddenSize };
    const head: ProductPrecision = this.#precision === "fp16" ? "fp16" : "q8f16";
    const half = this.layers.product("logits_f16", normed, weight, head);
    const to = { to: { int: elementTypeCode("f32") } };
    const logits = model.node("Cast", "logits", [half], to);
    const count = Math.min(CANDIDATES, vocabSize);
    model.outputs.unshift(
      { name: "logits", type: "f32", shape: ["rows", vocabSize] },
      { name: "top_scores", type: "f32", shape: ["rows", count] },
      { name: "top_ids", type: "i64", shape: ["rows", count] },
    );
    searchCandidates(model, logits, vocabSize);
  }

  /** Adds what is pending and norms the sum, in one operator. */
  #addAndNorm(name: string, h: Stream | string): { readonly normed: string; readonly sum: string } {
    const { hiddenSize, rmsNormEps } = this.#text;
    if (typeof h === "string") return { normed: this.#norm(name, h, hiddenSize), sum: h };
    const weight = this.layers.values(`${PREFIX}${name}.weight`, [hiddenSize], "f16");
    this.model.nodeWithOutputs({
      name,
      domain: MICROSOFT,
      op: "SkipSimplifiedLayerNormalization",
      inputs: [h.pending, h.residual, weight],
      outputs: [name, "", "", `${name}.sum`],
      attributes: { epsilon: { float: rmsNormEps } },
    });
    return { normed: name, sum: `${name}.sum` };
  }

  #norm(name: string, x: string, size: number): string {
    const weight = this.layers.values(`${PREFIX}${name}.weight`, [size], "f16");
    return this.model.node("SimplifiedLayerNormalization", name, [x, weight], {
      axis: { int: -1 },
      epsilon: { float: this.#text.rmsNormEps },
      stash_type: { int: 1 },
    });
  }

  #product(
    name: string,
    x: string,
    sources: readonly string[],
    rows: number,
    columns: number,
  ): string {
    return this.layers.product(name, x, { sources, rows, columns }, this.#precision);
  }
}
