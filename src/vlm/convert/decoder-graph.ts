// decoder.onnx: token embeddings in, logits out, keys and values appended to a cache of fixed capacity. Written
// from the configuration alone; weights go into the plan. B = batch, S = tokens of this run, C = cache capacity,
// K = DeepStack taps, H = hidden size, hd = head size, R = rows whose logits are wanted.
//
// in   inputs_embeds                f32   [B, S, H]       image rows already replaced by image features
// in   deepstack_embeds             f32   [K, DB, DS, H]  added after layers 0 .. K-1, broadcast: [K, B, S, H] with
//                                                         zeros on text rows, or zeros [K, 1, 1, H]
// in   rotary_cos, rotary_sin       f32   [B, S, hd / 2]  from the M-RoPE positions
// in   seqlens_k                    int32 [B]             valid length after this run, minus 1
// in   total_sequence_length        int32 []              largest valid length after this run
// in   logit_rows                   int64 [R]             rows of the flattened [B * S] tokens; R >= 1
// in   past_key_values.L.key/.value f32   [B, kv_heads, C, hd]
// out  logits                       f32   [R, vocabulary]
// out  present.L.key/.value         f32   [B, kv_heads, C, hd]   bind to the same memory as past: in place
// Keys and values may be f16 or int8 instead; int8 has one more input and output, see cached-attention.ts.
//
// With S > 1 and a past, B must be 1: GroupQueryAttention on CPU takes no ragged appends. On the CPU, tokens of other
// sequences may be in such a run all the same: see joined-attention.ts.

import type { Qwen3VlConfig, TextConfig } from "../checkpoint/config.ts";
import { EMBED_TOKENS, LM_HEAD } from "../checkpoint/tensor-names.ts";
import { CachedAttention, type CacheFormat } from "./cached-attention.ts";
import { JoinedAttention } from "./joined-attention.ts";
import {
  type Int8Weights,
  LinearLayers,
  type Precision,
  type ProductPrecision,
  type WiderFormats,
} from "./linear-layers.ts";
import { OnnxModel } from "./onnx-model.ts";
import type { StoredInt4 } from "./stored-int4.ts";
import type { PlannedGraph } from "./vision-graph.ts";

const PREFIX = "model.language_model.";

/** 4-bit decoders keep an 8-bit head: it decides every token. One of 4 bits would save a tenth of a step. */
export function headPrecision(precision: Precision, webgpu = false): ProductPrecision {
  if (precision === "q4f16" || precision === "w8a16") return "q8f16";
  if (precision !== "q4") return precision;
  // No graphics card multiplies int8 by int8 through WebGPU.
  return webgpu ? "q8" : "w8a8";
}

export interface DecoderGraphOptions {
  /** @default "cpu" */
  readonly device?: "cpu" | "webgpu" | undefined;
  /** Formats of single weights that are not those of the rest. */
  readonly wider?: WiderFormats | undefined;
  /** Weights whose 4-bit levels are kept. */
  readonly stored?: StoredInt4 | undefined;
  /** Of keys and values; the weights are the same in each. @default "fp32" */
  readonly cache?: CacheFormat | undefined;
}

export function decoderGraph(
  config: Qwen3VlConfig,
  precision: Precision,
  int8Weights: Int8Weights = "s8",
  options: DecoderGraphOptions = {},
): PlannedGraph {
  const graph = new DecoderGraph(config, precision, int8Weights, options);
  graph.write();
  return { model: graph.model, plan: graph.layers.plan };
}

class DecoderGraph {
  readonly model = new OnnxModel("decoder");
  readonly layers: LinearLayers;
  readonly #config: Qwen3VlConfig;
  readonly #text: TextConfig;
  readonly #precision: ProductPrecision;
  readonly #headPrecision: ProductPrecision;
  readonly #joined: JoinedAttention | undefined;
  readonly #cache: CachedAttention;

  constructor(
    config: Qwen3VlConfig,
    precision: Precision,
    int8Weights: Int8Weights,
    { device = "cpu", wider, stored, cache = "fp32" }: DecoderGraphOptions,
  ) {
    const webgpu = device === "webgpu";
    this.layers = new LinearLayers(this.model, int8Weights, wider, stored);
    this.#config = config;
    this.#text = config.text;
    this.#precision = webgpu && precision === "q4" ? "q4f32" : precision;
    this.#headPrecision = headPrecision(precision, webgpu);
    const joins = !webgpu && cache !== "fp16";
    this.#joined = joins ? new JoinedAttention(this.model, config.text, cache) : undefined;
    this.#cache = new CachedAttention(this.model, config.text, cache);
  }

  write(): void {
    const { model } = this;
    const { hiddenSize, headSize, vocabSize, layers } = this.#text;
    const taps = this.#config.vision.deepstackLayers.length;
    let h = model.input("inputs_embeds", "f32", ["batch", "sequence", hiddenSize]);
    const deepstack = model.input("deepstack_embeds", "f32", [
      taps,
      "deepstack_batch",
      "deepstack_sequence",
      hiddenSize,
    ]);
    model.input("rotary_cos", "f32", ["batch", "sequence", headSize / 2]);
    model.input("rotary_sin", "f32", ["batch", "sequence", headSize / 2]);
    model.input("seqlens_k", "i32", ["batch"]);
    model.input("total_sequence_length", "i32", []);
    const rows = model.input("logit_rows", "i64", ["rows"]);
    this.#joined?.writeInputs();

    this.#cache.begin();
    for (let layer = 0; layer < layers; layer++) {
      h = this.#layer(layer, h); // (B, S, H)
      if (layer < taps) h = this.#addDeepstack(layer, h, deepstack);
    }
    this.#cache.end();
    model.outputs.unshift({ name: "logits", type: "f32", shape: ["rows", vocabSize] });
    this.#head(h, rows);
  }

  /** h (B, S, H) -> (B, S, H) */
  #layer(index: number, h: string): string {
    const { model } = this;
    const { hiddenSize } = this.#text;
    const name = `layers.${index}`;
    const normed = this.#norm(`${name}.input_layernorm`, h, hiddenSize);
    const attention = this.#attention(index, normed);
    const middle = model.node("Add", `${name}.middle`, [h, attention]);
    const postNormed = this.#norm(`${name}.post_attention_layernorm`, middle, hiddenSize);
    const mlp = this.#mlp(name, postNormed);
    return model.node("Add", `${name}.output`, [middle, mlp]);
  }

  /** x (B, S, H) -> (B, S, H) */
  #attention(index: number, x: string): string {
    const { model } = this;
    const { heads, kvHeads, headSize } = this.#text;
    const name = `layers.${index}.self_attn`;
    const sizes = [heads * headSize, kvHeads * headSize, kvHeads * headSize];
    const sources = ["q_proj", "k_proj", "v_proj"].map((part) => `${PREFIX}${name}.${part}.weight`);
    // Queries and keys are normalised, head by head: only values need the factor of their row.
    const packed = this.#unscaled(`${name}.packed`, x, sources, sum(sizes), this.#text.hiddenSize);
    model.nodeWithOutputs({
      name: `${name}.split`,
      domain: "",
      op: "Split",
      inputs: [packed, model.constant("qkv_sizes", "i64", [3], sizes)],
      outputs: [`${name}.q`, `${name}.k`, `${name}.v`],
      attributes: { axis: { int: -1 } },
    });
    this.layers.carryRowScale(packed, `${name}.v`);
    const values = this.layers.applyRowScale(`${name}.v`, `${name}.v.scaled`);
    const weight = (part: string) =>
      this.layers.values(`${PREFIX}${name}.${part}.weight`, [headSize]);
    const [q, k] = this.#cache.normWeights(name, weight("q_norm"), weight("k_norm"));
    const queries = this.#normAndRotate(`${name}.q`, heads, q);
    const keys = this.#normAndRotate(`${name}.k`, kvHeads, k);
    const attended = this.#cache.attend(index, `${name}.mixed`, { queries, keys, values });
    const mixed = { queries, keys, values, attended };
    return this.#product(
      `${name}.out`,
      this.#joined?.write(index, mixed) ?? mixed.attended,
      [`${PREFIX}${name}.o_proj.weight`],
      this.#text.hiddenSize,
      heads * headSize,
    );
  }

  /** RMSNorm over each head, then rotation. x (B, S, heads * hd) -> the same shape */
  #normAndRotate(x: string, heads: number, weight: string): string {
    const { model } = this;
    const { headSize } = this.#text;
    const split = model.constant(`heads_${heads}`, "i64", [4], [0, 0, heads, headSize]);
    const perHead = model.node("Reshape", `${x}.heads`, [x, split]); // (B, S, heads, hd)
    const normed = this.#normWith(weight, `${x}_norm`, perHead);
    const join = model.constant(`width_${heads}`, "i64", [3], [0, 0, heads * headSize]);
    const joined = model.node("Reshape", `${x}.joined`, [normed, join]);
    return model.node("RotaryEmbedding", `${x}.rotated`, [joined, "rotary_cos", "rotary_sin"], {
      num_heads: { int: heads },
      interleaved: { int: 0 },
    });
  }

  /** down(silu(gate(x)) * up(x)); x (B, S, H) -> (B, S, H) */
  #mlp(layer: string, x: string): string {
    const { model } = this;
    const { hiddenSize: h, intermediateSize: f } = this.#text;
    const name = `${layer}.mlp`;
    const source = (part: string) => [`${PREFIX}${name}.${part}.weight`];
    const gate = this.#product(`${name}.gate`, x, source("gate_proj"), f, h);
    const up = this.#unscaled(`${name}.up`, x, source("up_proj"), f, h);
    const sigmoid = model.node("Sigmoid", `${name}.sigmoid`, [gate]);
    const silu = model.node("Mul", `${name}.silu`, [gate, sigmoid]);
    const inner = model.node("Mul", `${name}.inner`, [silu, up]);
    this.layers.carryRowScale(up, inner); // into the factor of the last product
    return this.#product(`${name}.down`, inner, source("down_proj"), h, f);
  }

  #addDeepstack(layer: number, h: string, deepstack: string): string {
    const { model } = this;
    const select = model.constant(`tap_${layer}`, "i64", [], [layer]);
    const tap = model.node("Gather", `layers.${layer}.tap`, [deepstack, select], {
      axis: { int: 0 },
    }); // (DB, DS, H)
    return model.node("Add", `layers.${layer}.deepstacked`, [h, tap]);
  }

  /** Only the wanted rows reach the head, by far the largest weight. h (B, S, H) -> logits (R, vocabulary) */
  #head(h: string, rows: string): void {
    const { model } = this;
    const { hiddenSize, vocabSize } = this.#text;
    const flatShape = model.constant("flat_shape", "i64", [2], [-1, hiddenSize]);
    const flat = model.node("Reshape", "flat", [h, flatShape]); // (B * S, H)
    const wanted = model.node("Gather", "wanted", [flat, rows], { axis: { int: 0 } }); // (R, H)
    const normed = this.#norm("norm", wanted, hiddenSize);
    const source = this.#config.tiedEmbeddings ? EMBED_TOKENS : LM_HEAD;
    const weight = { sources: [source], rows: vocabSize, columns: hiddenSize };
    this.layers.product("logits", normed, weight, this.#headPrecision);
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

  #unscaled(
    name: string,
    x: string,
    sources: readonly string[],
    rows: number,
    columns: number,
  ): string {
    return this.layers.unscaledProduct(name, x, { sources, rows, columns }, this.#precision);
  }

  #norm(name: string, x: string, size: number): string {
    return this.#normWith(this.layers.values(`${PREFIX}${name}.weight`, [size]), name, x);
  }

  #normWith(weight: string, name: string, x: string): string {
    return this.model.node("RMSNormalization", name, [x, weight], {
      axis: { int: -1 },
      epsilon: { float: this.#text.rmsNormEps },
    });
  }
}

function sum(values: readonly number[]): number {
  return values.reduce((total, value) => total + value, 0);
}
