// The tiny chat model with channels that are much larger than the others, and the same function: a channel times K
// where it is made, divided by K where it is read. K is a power of two, so bf16 loses nothing. Out: a change for
// `patchedCheckpoint`.

import type { CheckpointPatch } from "./patched-checkpoint.ts";
import { tinyTensors } from "./patched-checkpoint.ts";

export type OutlierPlace = "norm" | "down_proj" | "o_proj" | "attn.proj" | "merger";

export interface Outliers {
  readonly place: OutlierPlace;
  readonly k: number;
  /** Of each place. */
  readonly channels: number;
}

/** Factors by row or by column of one tensor. */
type Factors = Readonly<Record<"rows" | "columns", Map<number, number>>>;

const TEXT = { hidden: 160, inner: 448, heads: 5, headSize: 32 };
const VISION_HIDDEN = 128;

export async function outlierPatch(outliers: Outliers): Promise<CheckpointPatch> {
  const tensors = await tinyTensors();
  const shapes = new Map(tensors.map(({ name, shape }) => [name, shape]));
  const factors = new Map<string, Factors>();
  const at = (name: string): Factors => {
    const known = factors.get(name) ?? { rows: new Map(), columns: new Map() };
    factors.set(name, known);
    return known;
  };
  const places = [...shapes.keys()].filter((name) => isPlace(name, outliers.place));
  places.forEach((name, place) => {
    const size = channelsOf(name, outliers.place);
    for (let p = 0; p < outliers.channels; p++) {
      scale(at, name, outliers, Math.floor(share(place, p) * size));
    }
  });
  return {
    change: (name, bytes) => {
      const found = factors.get(name);
      if (found === undefined) return bytes;
      return multiplied(bytes, shapes.get(name) ?? [], found);
    },
  };
}

/** The p-th channel of a place, as a share of its size. */
function share(place: number, p: number): number {
  return Number((BigInt(7 * place + p + 1) * 2654435761n) % 2n ** 32n) / 2 ** 32;
}

function isPlace(name: string, place: OutlierPlace): boolean {
  switch (place) {
    case "norm":
      return /(?:norm1|norm2|input_layernorm|post_attention_layernorm)\.weight$/.test(name);
    case "down_proj":
      return name.endsWith("mlp.up_proj.weight");
    case "o_proj":
      return name.endsWith("v_proj.weight");
    case "attn.proj":
      return name.endsWith("attn.qkv.weight");
    case "merger":
      return /merger(?:_list\.\d)?\.norm\.weight$/.test(name);
  }
}

function channelsOf(name: string, place: OutlierPlace): number {
  if (place === "down_proj") return TEXT.inner;
  if (place === "o_proj") return TEXT.headSize;
  if (place === "merger" && name.includes("deepstack")) return 4 * VISION_HIDDEN;
  return name.includes("visual") ? VISION_HIDDEN : TEXT.hidden;
}

function scale(
  at: (name: string) => Factors,
  name: string,
  { place, k }: Outliers,
  channel: number,
): void {
  const base = name.replace(/[\w]+\.weight$/, "");
  const grow = (tensor: string, row: number) => at(tensor).rows.set(row, k);
  const shrink = (tensor: string, ...columns: number[]) => {
    for (const column of columns) at(tensor).columns.set(column, 1 / k);
  };
  if (place === "attn.proj") {
    grow(name, 2 * VISION_HIDDEN + channel);
    grow(name.replace("weight", "bias"), 2 * VISION_HIDDEN + channel);
    shrink(name.replace("qkv", "proj"), channel);
    return;
  }
  grow(name, channel);
  if (name.includes("visual")) grow(name.replace("weight", "bias"), channel);
  if (place === "down_proj") shrink(name.replace("up_proj", "down_proj"), channel);
  if (place === "o_proj") {
    const heads = Array.from({ length: TEXT.heads }, (_, h) => h * TEXT.headSize + channel);
    shrink(name.replace("v_proj", "o_proj"), ...heads);
  }
  if (place === "merger") {
    const patches = name.includes("deepstack") ? [0] : [0, 1, 2, 3];
    const columns = patches.map((patch) => patch * VISION_HIDDEN + channel);
    shrink(`${base.replace("norm.", "")}linear_fc1.weight`, ...columns);
  }
  if (place === "norm") for (const reader of readersOf(name, base)) shrink(reader, channel);
}

function readersOf(name: string, base: string): string[] {
  const parts = {
    norm1: ["attn.qkv"],
    norm2: ["mlp.linear_fc1"],
    input_layernorm: ["self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"],
    post_attention_layernorm: ["mlp.gate_proj", "mlp.up_proj"],
  };
  const [, readers = []] =
    Object.entries(parts).find(([norm]) => name.endsWith(`${norm}.weight`)) ?? [];
  return readers.map((part) => `${base}${part}.weight`);
}

/** bf16 values, (rows, columns); a vector has one column. */
function multiplied(bytes: Buffer, shape: readonly number[], { rows, columns }: Factors): Buffer {
  const width = shape.slice(1).reduce((product, size) => product * size, 1);
  const result = Buffer.from(bytes);
  const bits = new Uint32Array(1);
  const value = new Float32Array(bits.buffer);
  for (let i = 0; i < result.length / 2; i++) {
    const factor = (rows.get(Math.floor(i / width)) ?? 1) * (columns.get(i % width) ?? 1);
    if (factor === 1) continue;
    bits[0] = result.readUInt16LE(2 * i) << 16;
    value[0] = (value[0] ?? 0) * factor;
    result.writeUInt16LE((bits[0] ?? 0) >>> 16, 2 * i);
  }
  return result;
}
