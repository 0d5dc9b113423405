// decoder.onnx in 16 bits, for graphics cards: keys and values appended in place, and as few operators as possible, since
// each is a launch. What comes in before the layers and goes out behind them depends on the device, see decoder-ends.ts;
// names are those of decoder-graph.ts where they mean the same.
//
// in   seqlens_k                    int32 [B]             valid length after this run, minus 1
// in   total_sequence_length        int32 []              on the CPU
// in   logit_rows                   int64 [R]
// in   past_key_values.L.key/.value f16   [B, kv_heads, C, hd]
// out  logits                       f32   [R, vocabulary]
// out  present.L.key/.value         f16   [B, kv_heads, C, hd]   bind to the same memory as past
//
// `fused` norms and rotates queries and keys inside the attention, which no CPU kernel does; `composed` writes the
// same with operators that the CPU and WebGPU have too, and is what the goldens are compared with there.

import type { Qwen3VlConfig, TextConfig } from "../checkpoint/config.ts";
import { EMBED_TOKENS, LM_HEAD } from "../checkpoint/tensor-names.ts";
import { cardEnds, type DecoderEnds, embeddingEnds } from "./decoder-ends.ts";
import { type DevicePrecision, LinearLayers, type ProductPrecision } from "./linear-layers.ts";
import { elementTypeCode, OnnxModel } from "./onnx-model.ts";
import type { StoredInt4 } from "./stored-int4.ts";
import type { PlannedGraph } from "./vision-graph.ts";

export interface DeviceForm {
  readonly attention: "fused" | "composed";
  /** `ids` and candidates, or `embeddings` and logits. */
  readonly ends: "ids" | "embeddings";
}

const PREFIX = "model.language_model.";
const MICROSOFT = "com.microsoft";

/** What CUDA runs. */
export const CARD_FORM: DeviceForm = { attention: "fused", ends: "ids" };

export function deviceDecoderGraph(
  config: Qwen3VlConfig,
  precision: DevicePrecision,
  form: DeviceForm,
  stored?: StoredInt4,
): PlannedGraph {
  const graph = new DeviceDecoderGraph(config, precision, form, stored);
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
  readonly #attention: DeviceForm["attention"];
  readonly #ends: DecoderEnds;

  constructor(
    config: Qwen3VlConfig,
    precision: DevicePrecision,
    { attention, ends }: DeviceForm,
    stored?: StoredInt4,
  ) {
    this.layers = new LinearLayers(this.model, "s8", undefined, stored);
    this.#ends =
      ends === "ids"
        ? cardEnds(this.layers, this.model, config)
        : embeddingEnds(this.model, config);
    this.#config = config;
    this.#text = config.text;
    this.#precision = precision;
    this.#attention = attention;
  }

  write(): void {
    const { layers } = this.#text;
    const embedded = this.#ends.embed();
    const deepstack = this.#ends.deepstack();
    this.#ends.tables();
    this.model.input("seqlens_k", "i32", ["batch"]);
    this.model.input("total_sequence_length", "i32", []);
    this.model.input("logit_rows", "i64", ["rows"]);
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
          ...[packed, "", "", ...cache, ...lengths, ...this.#ends.rotary],
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
      return model.node("RotaryEmbedding", `${x}.rotated`, [joined, ...this.#ends.rotary], {
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

  /** Only the wanted rows reach the head. -> logits (R, vocabulary) */
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
    this.#ends.finish(logits);
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
