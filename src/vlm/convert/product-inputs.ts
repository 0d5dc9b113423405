// Every activation that quantised products of a Qwen3-VL read: how its values come about, which tensors read it, and
// where a channel of it can be made larger or smaller without changing the model. In: sizes. Out: a list in the order of
// computation. Reads no weights.
//
// A scale passes through products, through attention (its outputs are averages of v), and from `up` through the gated
// product; not through GELU or SiLU. The residual stream is read by too many to be scaled.

import type { Qwen3VlConfig, TextConfig, VisionConfig } from "../checkpoint/config.ts";
import { EMBED_TOKENS, LM_HEAD } from "../checkpoint/tensor-names.ts";

/** Values of a norm: weight times something bell-shaped, plus bias. */
export interface NormOrigin {
  readonly kind: "norm";
  readonly weight: string;
  readonly bias?: string;
}

/** Rows of a product that reads a norm. */
export interface RowsOrigin {
  readonly weight: string;
  readonly bias?: string;
  readonly firstRow: number;
  readonly rows: number;
  readonly input: NormOrigin;
}

export type Origin =
  | NormOrigin
  | { readonly kind: "attention"; readonly values: RowsOrigin }
  | { readonly kind: "gelu"; readonly inner: RowsOrigin };

/** Rows of a tensor that make the channels, one each. */
export interface ChannelMaker {
  readonly tensor: string;
  readonly firstRow: number;
}

export interface ProductInput {
  /** The product that reads it, or what its readers have in common. */
  readonly name: string;
  /** How its values come about; left out in the decoder, where a run shows them. */
  readonly origin?: Origin;
  readonly channels: number;
  readonly columns: number;
  /** Channel of each column; the same number when left out. */
  readonly channelOf?: (column: number) => number;
  /** Weights of the products, (rows, columns) each. */
  readonly readers: readonly string[];
  /** Where a channel can be scaled; none where something not linear lies between. */
  readonly makers: readonly ChannelMaker[];
}

export function visionInputs({ vision }: Qwen3VlConfig): ProductInput[] {
  const inputs: ProductInput[] = [];
  for (let block = 0; block < vision.depth; block++) {
    inputs.push(...blockInputs(vision, block));
    const tap = vision.deepstackLayers.indexOf(block);
    if (tap >= 0) inputs.push(...mergerInputs(vision, `deepstack_merger_list.${tap}`, false));
  }
  return [...inputs, ...mergerInputs(vision, "merger", true)];
}

export function decoderInputs({ text, tiedEmbeddings }: Qwen3VlConfig): ProductInput[] {
  const inputs: ProductInput[] = [];
  for (let layer = 0; layer < text.layers; layer++) inputs.push(...layerInputs(text, layer));
  const head = tiedEmbeddings ? EMBED_TOKENS : LM_HEAD;
  return [
    ...inputs,
    rmsInput("logits", "model.language_model.norm.weight", text.hiddenSize, [head]),
  ];
}

/** The tensors that tell how large the values are. */
export function originWeights(origin: Origin): string[] {
  switch (origin.kind) {
    case "norm":
      return [origin.weight];
    case "attention":
      return [origin.values.weight];
    case "gelu":
      return [origin.inner.weight];
    default:
      throw new TypeError(`Unknown origin ${origin satisfies never}.`);
  }
}

function blockInputs(vision: VisionConfig, block: number): ProductInput[] {
  const { hiddenSize: d, intermediateSize: i } = vision;
  const name = `blocks.${block}`;
  const path = `model.visual.${name}`;
  const [norm1, norm2] = [layerNorm(`${path}.norm1`), layerNorm(`${path}.norm2`)];
  const qkv = linear(`${path}.attn.qkv`);
  const values: RowsOrigin = { ...qkv, firstRow: 2 * d, rows: d, input: norm1 };
  const inner: RowsOrigin = {
    ...linear(`${path}.mlp.linear_fc1`),
    firstRow: 0,
    rows: i,
    input: norm2,
  };
  return [
    normInput(`${name}.attn.qkv`, norm1, d, [qkv.weight]),
    {
      name: `${name}.attn.proj`,
      origin: { kind: "attention", values },
      channels: d,
      columns: d,
      readers: [`${path}.attn.proj.weight`],
      makers: [qkv.weight, qkv.bias].map((tensor) => ({ tensor, firstRow: 2 * d })),
    },
    normInput(`${name}.mlp.linear_fc1`, norm2, d, [inner.weight]),
    geluInput(`${name}.mlp.linear_fc2`, inner, `${path}.mlp.linear_fc2.weight`),
  ];
}

/** The main merger normalises each patch and then joins four; the others join first. */
function mergerInputs(vision: VisionConfig, name: string, normFirst: boolean): ProductInput[] {
  const { hiddenSize: d, mergeSize } = vision;
  const merged = d * mergeSize ** 2;
  const path = `model.visual.${name}`;
  const norm = layerNorm(`${path}.norm`);
  const first = linear(`${path}.linear_fc1`);
  const inner: RowsOrigin = { ...first, firstRow: 0, rows: merged, input: norm };
  return [
    {
      ...normInput(`${name}.linear_fc1`, norm, merged, [first.weight]),
      ...(normFirst ? { channels: d, channelOf: (column: number) => column % d } : {}),
    },
    geluInput(`${name}.linear_fc2`, inner, `${path}.linear_fc2.weight`),
  ];
}

function layerInputs(text: TextConfig, layer: number): ProductInput[] {
  const { hiddenSize: h, intermediateSize: f, headSize, heads, kvHeads } = text;
  const name = `layers.${layer}`;
  const path = `model.language_model.${name}`;
  const weight = (part: string) => `${path}.${part}.weight`;
  const before = weight("input_layernorm");
  const after = weight("post_attention_layernorm");
  const [q, k, v] = ["q_proj", "k_proj", "v_proj"].map((part) => weight(`self_attn.${part}`));
  const [gate, up] = [weight("mlp.gate_proj"), weight("mlp.up_proj")];
  const value = v ?? "";
  const groupWidth = (heads / kvHeads) * headSize;
  return [
    rmsInput(`${name}.self_attn.qkv`, before, h, [q ?? "", k ?? "", value]),
    {
      name: `${name}.self_attn.o_proj`,
      channels: kvHeads * headSize,
      columns: heads * headSize,
      // All query heads of a group read the same head of v.
      channelOf: (column) => Math.floor(column / groupWidth) * headSize + (column % headSize),
      readers: [weight("self_attn.o_proj")],
      makers: [{ tensor: value, firstRow: 0 }],
    },
    rmsInput(`${name}.mlp.gate_up`, after, h, [gate, up]),
    {
      name: `${name}.mlp.down_proj`,
      channels: f,
      columns: f,
      readers: [weight("mlp.down_proj")],
      makers: [{ tensor: up, firstRow: 0 }],
    },
  ];
}

function normInput(
  name: string,
  origin: NormOrigin,
  columns: number,
  readers: readonly string[],
): ProductInput {
  const tensors = [origin.weight, ...(origin.bias === undefined ? [] : [origin.bias])];
  const makers = tensors.map((tensor) => ({ tensor, firstRow: 0 }));
  return { name, origin, channels: columns, columns, readers, makers };
}

function rmsInput(
  name: string,
  norm: string,
  columns: number,
  readers: readonly string[],
): ProductInput {
  return { name, channels: columns, columns, readers, makers: [{ tensor: norm, firstRow: 0 }] };
}

function geluInput(name: string, inner: RowsOrigin, reader: string): ProductInput {
  const origin: Origin = { kind: "gelu", inner };
  return { name, origin, channels: inner.rows, columns: inner.rows, readers: [reader], makers: [] };
}

function layerNorm(path: string): NormOrigin {
  return { kind: "norm", weight: `${path}.weight`, bias: `${path}.bias` };
}

function linear(path: string): { readonly weight: string; readonly bias: string } {
  return { weight: `${path}.weight`, bias: `${path}.bias` };
}
