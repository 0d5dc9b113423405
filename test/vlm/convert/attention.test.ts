// Attention of both graphs cut out and run alone, against the formula in float64. Published vision encoders have heads
// of 64 and of 72: kernels that want powers of two pad them, and a padded head must keep its scale.

import { type InferenceSession, Tensor } from "onnxruntime-node";
import { afterEach, describe, expect, it } from "vitest";
import { parseConfig } from "../../../src/vlm/checkpoint/config.ts";
import { decoderGraph } from "../../../src/vlm/convert/decoder-graph.ts";
import { OnnxModel } from "../../../src/vlm/convert/onnx-model.ts";
import { visionGraph } from "../../../src/vlm/convert/vision-graph.ts";
import { visionCosSin } from "../../../src/vlm/engine/rotary.ts";
import { largestDifference } from "../../support/float-error.ts";
import { gaussians } from "../../support/gaussians.ts";
import { openSession } from "../../support/graph-runner.ts";
import { CONFIG_SMALL } from "../../support/synthetic-checkpoint.ts";

let session: InferenceSession | undefined;
afterEach(() => session?.release());

async function run(model: OnnxModel, feeds: Record<string, Tensor>, output: string) {
  session = await openSession(model.serialize("none", "1"));
  return (await session.run(feeds))[output]?.data as Float32Array;
}

const f32 = (data: Float32Array, shape: readonly number[]) => new Tensor("float32", data, shape);

/** The nodes of these names, in a graph of their own. */
function cutOut(from: OnnxModel, names: readonly string[]): OnnxModel {
  const model = new OnnxModel("part");
  for (const node of from.nodes) if (names.includes(node.name)) model.nodeWithOutputs(node);
  expect(model.nodes).toHaveLength(names.length);
  return model;
}

interface Heads {
  readonly tokens: number;
  readonly heads: number;
  readonly kvHeads: number;
  readonly headSize: number;
}

/** softmax(q k / sqrt(head size)) v; q (tokens, heads * head size), k and v (tokens, kv heads * head size). */
function attend(
  [q, k, v]: readonly [Float32Array, Float32Array, Float32Array],
  { tokens, heads, kvHeads, headSize }: Heads,
  sees: (token: number, other: number) => boolean,
): Float32Array {
  const mixed = new Float32Array(tokens * heads * headSize);
  for (let token = 0; token < tokens; token++) {
    for (let head = 0; head < heads; head++) {
      const own = (token * heads + head) * headSize;
      // Neighbouring heads share keys and values.
      const shared = (other: number) =>
        (other * kvHeads + Math.floor((head * kvHeads) / heads)) * headSize;
      const shares = Array.from({ length: tokens }, (_, other) => {
        if (!sees(token, other)) return 0;
        let product = 0;
        for (let d = 0; d < headSize; d++) product += q[own + d]! * k[shared(other) + d]!;
        return Math.exp(product / Math.sqrt(headSize));
      });
      const total = shares.reduce((sum, share) => sum + share, 0);
      for (let d = 0; d < headSize; d++) {
        let sum = 0;
        for (const [other, share] of shares.entries()) sum += share * v[shared(other) + d]!;
        mixed[own + d] = sum / total;
      }
    }
  }
  return mixed;
}

/** Turns the pair (d, d + half) of each head by the token's angle d. */
function rotate(
  x: Float32Array,
  { cos, sin }: { readonly cos: Float32Array; readonly sin: Float32Array },
  { tokens, heads, headSize }: Heads,
): Float32Array {
  const half = headSize / 2;
  const turned = new Float32Array(x.length);
  for (let row = 0; row < tokens * heads; row++) {
    const angles = Math.floor(row / heads) * half;
    for (let d = 0; d < half; d++) {
      const [a, b] = [x[row * headSize + d]!, x[row * headSize + half + d]!];
      const [c, s] = [cos[angles + d]!, sin[angles + d]!];
      turned[row * headSize + d] = a * c - b * s;
      turned[row * headSize + half + d] = b * c + a * s;
    }
  }
  return turned;
}

describe("attention of the vision encoder", () => {
  it.each([64, 72, 12])(
    "rotates heads of %i and lets every patch see every patch",
    async (size) => {
      const heads = 2;
      const hiddenSize = heads * size;
      const { vision_config } = CONFIG_SMALL;
      const sizes = { ...vision_config, hidden_size: hiddenSize, num_heads: heads };
      const config = parseConfig({ ...CONFIG_SMALL, vision_config: sizes }, "config.json");
      const tokens = 4 * 6;
      const shape = { tokens, heads, kvHeads: heads, headSize: size };

      const block = "blocks.1.attn";
      const parts = ["split", "q.rotated", "k.rotated", "mixed"].map((part) => `${block}.${part}`);
      const model = cutOut(visionGraph(config, "fp32").model, parts);
      model.constant("qkv_sizes", "i64", [3], [hiddenSize, hiddenSize, hiddenSize]);
      model.input(`${block}.packed`, "f32", [1, tokens, 3 * hiddenSize]);
      model.input("rotary_cos", "f32", [1, tokens, size / 2]);
      model.input("rotary_sin", "f32", [1, tokens, size / 2]);
      model.output(`${block}.mixed`, "f32", [1, tokens, hiddenSize]);

      const packed = gaussians(tokens * 3 * hiddenSize, 1); // (tokens, q k v)
      const part = (index: number) =>
        Float32Array.from({ length: tokens * hiddenSize }, (_, i) => {
          const row = Math.floor(i / hiddenSize);
          return packed[(row * 3 + index) * hiddenSize + (i % hiddenSize)]!;
        });
      const angles = visionCosSin(4, 6, config.vision);
      const mixed = await run(
        model,
        {
          [`${block}.packed`]: f32(packed, [1, tokens, 3 * hiddenSize]),
          rotary_cos: f32(angles.cos, [1, tokens, size / 2]),
          rotary_sin: f32(angles.sin, [1, tokens, size / 2]),
        },
        `${block}.mixed`,
      );
      const q = rotate(part(0), angles, shape);
      const k = rotate(part(1), angles, shape);
      expect(
        largestDifference(
          mixed,
          attend([q, k, part(2)], shape, () => true),
        ),
      ).toBeLessThan(1e-5);
    },
  );
});

describe("attention of the decoder", () => {
  it.each([128, 24])("shares heads of %i among neighbours and looks back only", async (size) => {
    const shape = { tokens: 7, heads: 4, kvHeads: 2, headSize: size };
    const { tokens, heads, kvHeads } = shape;
    const text_config = {
      ...CONFIG_SMALL.text_config,
      head_dim: size,
      rope_scaling: { mrope_section: [size / 2 - 8, 4, 4] },
    };
    const config = parseConfig({ ...CONFIG_SMALL, text_config }, "config.json");

    const layer = "layers.1.self_attn";
    const model = cutOut(decoderGraph(config, "fp32").model, [`${layer}.mixed`]);
    const input = (name: string, data: Float32Array, dims: readonly number[]) => {
      model.input(name, "f32", dims);
      return [name, f32(data, dims)] as const;
    };
    const q = gaussians(tokens * heads * size, 1);
    const k = gaussians(tokens * kvHeads * size, 2);
    const v = gaussians(tokens * kvHeads * size, 3);
    const cache = [1, kvHeads, 16, size];
    // What is in the cache already is none of this run's business.
    const junk = () => new Float32Array(kvHeads * 16 * size).fill(1e3);
    const feeds = Object.fromEntries([
      input(`${layer}.q.rotated`, q, [1, tokens, heads * size]),
      input(`${layer}.k.rotated`, k, [1, tokens, kvHeads * size]),
      input(`${layer}.v`, v, [1, tokens, kvHeads * size]),
      input("past_key_values.1.key", junk(), cache),
      input("past_key_values.1.value", junk(), cache),
    ]);
    model.input("seqlens_k", "i32", [1]);
    model.input("total_sequence_length", "i32", []);
    model.output(`${layer}.mixed`, "f32", [1, tokens, heads * size]);
    model.output("present.1.key", "f32", cache);
    model.output("present.1.value", "f32", cache);
    const mixed = await run(
      model,
      {
        ...feeds,
        seqlens_k: new Tensor("int32", Int32Array.of(tokens - 1), [1]),
        total_sequence_length: new Tensor("int32", Int32Array.of(tokens), []),
      },
      `${layer}.mixed`,
    );
    const expected = attend([q, k, v], shape, (token, other) => other <= token);
    expect(largestDifference(mixed, expected)).toBeLessThan(1e-5);
  });
});
