// vision_encoder.onnx: one picture, patches in, image features and DeepStack features out. Written from the
// configuration alone; weights go into the plan. N = patches, D = vision hidden size, hd = head size, H = text
// hidden size, K = DeepStack taps. Rows come in merge-block order: four consecutive patches are one image token.
//
// in   pixel_values        f32   [N, channels * frames * patch * patch]
// in   pos_embed_indices   int64 [4, N]          rows of the position table: (y0,x0) (y0,x1) (y1,x0) (y1,x1)
// in   pos_embed_weights   f32   [4, N]          their bilinear weights
// in   rotary_cos          f32   [1, N, hd / 2]  angles row * w then column * w
// in   rotary_sin          f32   [1, N, hd / 2]
// out  image_features      f32   [N / 4, H]      f16 beside a decoder for graphics cards
// out  deepstack_features  f32   [K, N / 4, H]   likewise
//
// In 16 bits the sum from block to block, all norms and a composed softmax stay f32. `bf16` has the range of f32; `fp16` has not, so there
// only attention is in 16 bits: published checkpoints exceed 65504 inside their MLPs.

import type { Qwen3VlConfig, VisionConfig } from "../checkpoint/config.ts";
import {
  activationType,
  type FloatType,
  type Int8Weights,
  LinearLayers,
  type LinearWeight,
  type WiderFormats,
} from "./linear-layers.ts";
import { elementTypeCode, OnnxModel } from "./onnx-model.ts";
import type { WeightPlan } from "./weight-plan.ts";

export const VISION_PRECISIONS = ["fp32", "w8a8", "fp16", "bf16"] as const;
export type VisionPrecision = (typeof VISION_PRECISIONS)[number];

export interface VisionGraphOptions {
  /** @default "s8" */
  readonly int8Weights?: Int8Weights;
  /** Formats of single weights that are not those of the rest. */
  readonly wider?: WiderFormats | undefined;
  /**
   * `operator` is one operator for all heads; `composed` is the same as products and a softmax, whose memory grows with
   * the square of the patches, for devices whose operator cannot be trusted. @default "operator"
   */
  readonly attention?: "operator" | "composed";
  /** Type of the features. @default "f32" */
  readonly features?: "f32" | "f16";
}

export interface PlannedGraph {
  readonly model: OnnxModel;
  readonly plan: readonly WeightPlan[];
}

/** Fixed by the reference implementation; no configuration names it. */
const LAYER_NORM_EPS = 1e-6;
const PREFIX = "model.visual.";

export function visionGraph(
  config: Qwen3VlConfig,
  precision: VisionPrecision,
  options: VisionGraphOptions = {},
): PlannedGraph {
  const graph = new VisionGraph(config.vision, precision, options);
  graph.write();
  return { model: graph.model, plan: graph.layers.plan };
}

class VisionGraph {
  readonly model = new OnnxModel("vision_encoder");
  readonly layers: LinearLayers;
  readonly #vision: VisionConfig;
  /** Of attention and its products. */
  readonly #precision: VisionPrecision;
  /** Of MLPs and mergers. */
  readonly #mlpPrecision: VisionPrecision;
  readonly #options: VisionGraphOptions;
  /** Columns of one image token before the merger: 4 D. */
  readonly #merged: number;

  constructor(vision: VisionConfig, precision: VisionPrecision, options: VisionGraphOptions) {
    this.layers = new LinearLayers(this.model, options.int8Weights ?? "s8", options.wider);
    this.#vision = vision;
    this.#precision = precision;
    this.#mlpPrecision = precision === "fp16" ? "fp32" : precision;
    this.#options = options;
    this.#merged = vision.hiddenSize * vision.mergeSize ** 2;
  }

  write(): void {
    const { depth, headSize, deepstackLayers, outHiddenSize } = this.#vision;
    const embedded = this.#addPositions(this.#embedPatches());
    const cos = this.model.input("rotary_cos", "f32", [1, "patches", headSize / 2]);
    const sin = this.model.input("rotary_sin", "f32", [1, "patches", headSize / 2]);
    const first = this.model.constant("first_axis", "i64", [1], [0]);
    let x = this.model.node("Unsqueeze", "embedding", [embedded, first]); // (1, N, D)
    const taps: string[] = []; // (1, N / 4, H) each
    for (let block = 0; block < depth; block++) {
      x = this.#block(block, x, cos, sin);
      const tap = deepstackLayers.indexOf(block);
      if (tap >= 0) taps.push(this.#deepstackTap(tap, x));
    }
    this.#mainMerger(x);
    this.model.node("Concat", "deepstack_features", taps, { axis: { int: 0 } });
    const type = this.#options.features ?? "f32";
    this.model.output("image_features", type, ["image_tokens", outHiddenSize]);
    this.model.output("deepstack_features", type, [taps.length, "image_tokens", outHiddenSize]);
  }

  /** Always fp32: half a percent of the work, and the input of everything else. */
  #embedPatches(): string {
    const { inChannels, temporalPatchSize, patchSize, hiddenSize } = this.#vision;
    const columns = inChannels * temporalPatchSize * patchSize ** 2;
    const pixels = this.model.input("pixel_values", "f32", ["patches", columns]);
    const weight = this.#weight("patch_embed.proj", hiddenSize, columns);
    return this.layers.product("patch_embed", pixels, weight, "fp32"); // (N, D)
  }

  /** Adds the bilinear mix of four rows of the position table to each patch. */
  #addPositions(patches: string): string {
    const { model } = this;
    const { positionGridSize, hiddenSize } = this.#vision;
    const indices = model.input("pos_embed_indices", "i64", [4, "patches"]);
    const weights = model.input("pos_embed_weights", "f32", [4, "patches"]);
    const table = this.layers.values(`${PREFIX}pos_embed.weight`, [
      positionGridSize ** 2,
      hiddenSize,
    ]);
    const last = model.constant("last_axis", "i64", [1], [-1]);
    let sum = "";
    for (let corner = 0; corner < 4; corner++) {
      const name = `pos_embed.${corner}`;
      const select = model.constant(`corner_${corner}`, "i64", [], [corner]);
      const axis = { axis: { int: 0 } };
      const rows = model.node("Gather", `${name}.indices`, [indices, select], axis); // (N)
      const weight = model.node("Gather", `${name}.weights`, [weights, select], axis); // (N)
      const column = model.node("Unsqueeze", `${name}.column`, [weight, last]); // (N, 1)
      const values = model.node("Gather", `${name}.values`, [table, rows], axis); // (N, D)
      const term = model.node("Mul", `${name}.term`, [values, column]); // (N, D)
      sum = corner === 0 ? term : model.node("Add", `${name}.sum`, [sum, term]);
    }
    return model.node("Add", "patches", [patches, sum]); // (N, D)
  }

  /** x (1, N, D) -> (1, N, D) */
  #block(index: number, x: string, cos: string, sin: string): string {
    const { model, layers } = this;
    const { hiddenSize, intermediateSize } = this.#vision;
    const name = `blocks.${index}`;
    const attended = activationType(this.#precision);
    const norm1 = this.#cast(this.#norm(`${name}.norm1`, x, hiddenSize), "f32", attended);
    const attention = this.#attention(name, norm1, cos, sin);
    const projection = this.#weight(`${name}.attn.proj`, hiddenSize, hiddenSize);
    const out = layers.product(`${name}.attn.out`, attention, projection, this.#precision);
    const middle = model.node("Add", `${name}.middle`, [x, this.#cast(out, attended, "f32")]);

    const type = activationType(this.#mlpPrecision);
    const norm2 = this.#cast(this.#norm(`${name}.norm2`, middle, hiddenSize), "f32", type);
    const up = this.#weight(`${name}.mlp.linear_fc1`, intermediateSize, hiddenSize);
    const inner = layers.product(`${name}.mlp.inner`, norm2, up, this.#mlpPrecision);
    const gelu = this.#tanhGelu(`${name}.mlp.gelu`, inner, type);
    const down = this.#weight(`${name}.mlp.linear_fc2`, hiddenSize, intermediateSize);
    const mlp = layers.product(`${name}.mlp.outer`, gelu, down, this.#mlpPrecision);
    return model.node("Add", `${name}.output`, [middle, this.#cast(mlp, type, "f32")]);
  }

  /** Every patch sees every patch of the picture. x (1, N, D) -> (1, N, D) */
  #attention(block: string, x: string, cos: string, sin: string): string {
    const { model } = this;
    const { hiddenSize: d, heads } = this.#vision;
    const name = `${block}.attn`;
    const weight = this.#weight(`${name}.qkv`, 3 * d, d);
    const packed = this.layers.product(`${name}.packed`, x, weight, this.#precision);
    model.nodeWithOutputs({
      name: `${name}.split`,
      domain: "",
      op: "Split",
      inputs: [packed, model.constant("qkv_sizes", "i64", [3], [d, d, d])],
      outputs: [`${name}.q`, `${name}.k`, `${name}.v`], // (1, N, D) each
      attributes: { axis: { int: -1 } },
    });
    const numHeads = { num_heads: { int: heads } };
    const type = activationType(this.#precision);
    const tables = [this.#cast(cos, "f32", type), this.#cast(sin, "f32", type)];
    const rotate = (which: string) =>
      model.node("RotaryEmbedding", `${name}.${which}.rotated`, [`${name}.${which}`, ...tables], {
        ...numHeads,
        interleaved: { int: 0 },
      });
    const inputs = [rotate("q"), rotate("k"), `${name}.v`] as const;
    if (this.#options.attention === "composed") return this.#composedAttention(name, ...inputs);
    return model.node("MultiHeadAttention", `${name}.mixed`, inputs, numHeads, "com.microsoft");
  }

  /** softmax(q k / sqrt(hd)) v for each head. q, k, v (1, N, D) -> (1, N, D) */
  #composedAttention(name: string, q: string, k: string, v: string): string {
    const { model } = this;
    const { hiddenSize, heads, headSize } = this.#vision;
    const split = model.constant("heads_shape", "i64", [4], [1, -1, heads, headSize]);
    const turned = (x: string, order: readonly number[]) => {
      const perHead = model.node("Reshape", `${x}.heads`, [x, split]); // (1, N, heads, hd)
      return model.node("Transpose", `${x}.turned`, [perHead], { perm: { ints: order } });
    };
    const type = activationType(this.#precision);
    const factor = model.constant("attention_scale", "f32", [], [headSize ** -0.5]);
    const scale = this.#cast(factor, "f32", type);
    const scaled = model.node("Mul", `${name}.scaled`, [turned(q, [0, 2, 1, 3]), scale]);
    const scores = model.node("MatMul", `${name}.scores`, [scaled, turned(k, [0, 2, 3, 1])]);
    const wide = this.#cast(scores, type, "f32");
    const softmax = model.node("Softmax", `${name}.shares`, [wide], { axis: { int: -1 } });
    const shares = this.#cast(softmax, "f32", type);
    const mixed = model.node("MatMul", `${name}.per_head`, [shares, turned(v, [0, 2, 1, 3])]);
    const back = model.node("Transpose", `${name}.back`, [mixed], { perm: { ints: [0, 2, 1, 3] } });
    const join = model.constant("joined_shape", "i64", [3], [1, -1, hiddenSize]);
    return model.node("Reshape", `${name}.mixed`, [back, join]);
  }

  /** Groups four patches, then normalises. x (1, N, D) -> (1, N / 4, H) */
  #deepstackTap(tap: number, x: string): string {
    const name = `deepstack_merger_list.${tap}`;
    const shape = this.model.constant("deepstack_shape", "i64", [3], [1, -1, this.#merged]);
    const grouped = this.model.node("Reshape", `${name}.grouped`, [x, shape]); // (1, N / 4, 4D)
    const normed = this.#norm(`${name}.norm`, grouped, this.#merged);
    return this.#merge(name, normed, `${name}.output`);
  }

  /** Normalises, then groups four patches. x (1, N, D) -> image_features (N / 4, H) */
  #mainMerger(x: string): void {
    const normed = this.#norm("merger.norm", x, this.#vision.hiddenSize);
    const shape = this.model.constant("merged_shape", "i64", [2], [-1, this.#merged]);
    const grouped = this.model.node("Reshape", "merger.grouped", [normed, shape]); // (N / 4, 4D)
    this.#merge("merger", grouped, "image_features");
  }

  #merge(name: string, x: string, output: string): string {
    const { outHiddenSize } = this.#vision;
    const precision = this.#mlpPrecision;
    const type = activationType(precision);
    const features = this.#options.features ?? "f32";
    const first = this.#weight(`${name}.linear_fc1`, this.#merged, this.#merged);
    const inner = this.layers.product(
      `${name}.inner`,
      this.#cast(x, "f32", type),
      first,
      precision,
    );
    // Exact, and always in f32: a hundredth of the work of a block.
    const wide = this.#cast(inner, type, "f32");
    const approximate = { approximate: { string: "none" } };
    const gelu = this.model.node("Gelu", `${name}.gelu`, [wide], approximate);
    const second = this.#weight(`${name}.linear_fc2`, outHiddenSize, this.#merged);
    const narrow = this.#cast(gelu, "f32", type);
    if (type === features) return this.layers.product(output, narrow, second, precision);
    const product = this.layers.product(`${output}.${type}`, narrow, second, precision);
    const to = { to: { int: elementTypeCode(features) } };
    return this.model.node("Cast", output, [product], to);
  }

  /** The same values in another type, once for each; nothing where it is the same type. */
  #cast(x: string, from: FloatType, to: FloatType): string {
    if (from === to) return x;
    const name = `${x}.${to}`;
    if (this.model.nodes.some((node) => node.name === name)) return name;
    return this.model.node("Cast", name, [x], { to: { int: elementTypeCode(to) } });
  }

  #norm(name: string, x: string, size: number): string {
    const weight = this.layers.values(`${PREFIX}${name}.weight`, [size]);
    const bias = this.layers.values(`${PREFIX}${name}.bias`, [size]);
    return this.model.node("LayerNormalization", name, [x, weight, bias], {
      axis: { int: -1 },
      epsilon: { float: LAYER_NORM_EPS },
    });
  }

  #tanhGelu(name: string, x: string, type: FloatType): string {
    // FastGelu is the same approximation, and has kernels for every type.
    if (type !== "f32") return this.model.node("FastGelu", name, [x], {}, "com.microsoft");
    return this.model.node("Gelu", name, [x], { approximate: { string: "tanh" } });
  }

  #weight(name: string, rows: number, columns: number): LinearWeight {
    return {
      sources: [`${PREFIX}${name}.weight`],
      rows,
      columns,
      bias: `${PREFIX}${name}.bias`,
    };
  }
}
