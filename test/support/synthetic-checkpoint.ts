// Checkpoints of any size from random numbers, written on the spot: the right tensor names, shapes and files, no
// sense in the weights. For tests of the reader and the converter.

import { copyFile, mkdir, open, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { parseConfig } from "../../src/vlm/checkpoint/config.ts";
import { expectedTensors, type TensorSpec } from "../../src/vlm/checkpoint/tensor-names.ts";
import { TINY_CHAT } from "./golden-checkpoint.ts";

export type SyntheticDtype = "BF16" | "F16" | "F32";

/** config.json with the sizes of Qwen3-VL-2B. */
export const CONFIG_2B = {
  model_type: "qwen3_vl",
  image_token_id: 151655,
  video_token_id: 151656,
  vision_start_token_id: 151652,
  vision_end_token_id: 151653,
  tie_word_embeddings: true,
  text_config: {
    vocab_size: 151936,
    hidden_size: 2048,
    intermediate_size: 6144,
    num_hidden_layers: 28,
    num_attention_heads: 16,
    num_key_value_heads: 8,
    head_dim: 128,
    hidden_act: "silu",
    rms_norm_eps: 1e-6,
    rope_theta: 5000000,
    rope_scaling: { mrope_interleaved: true, mrope_section: [24, 20, 20], rope_type: "default" },
    max_position_embeddings: 262144,
    eos_token_id: 151645,
  },
  vision_config: {
    depth: 24,
    hidden_size: 1024,
    intermediate_size: 4096,
    num_heads: 16,
    in_channels: 3,
    patch_size: 16,
    temporal_patch_size: 2,
    spatial_merge_size: 2,
    out_hidden_size: 2048,
    num_position_embeddings: 2304,
    deepstack_visual_indexes: [5, 11, 17],
    hidden_act: "gelu_pytorch_tanh",
  },
};

/** Odd sizes on purpose: nothing is a multiple of a quantisation block, heads and hidden size differ. */
export const CONFIG_SMALL = {
  ...CONFIG_2B,
  image_token_id: 90,
  video_token_id: 91,
  vision_start_token_id: 92,
  vision_end_token_id: 93,
  text_config: {
    ...CONFIG_2B.text_config,
    vocab_size: 100,
    hidden_size: 40,
    intermediate_size: 136,
    num_hidden_layers: 2,
    num_attention_heads: 4,
    num_key_value_heads: 2,
    head_dim: 16,
    rope_scaling: { mrope_section: [4, 2, 2], rope_type: "default" },
    eos_token_id: 99,
  },
  vision_config: {
    ...CONFIG_2B.vision_config,
    depth: 3,
    hidden_size: 24,
    intermediate_size: 52,
    num_heads: 2,
    out_hidden_size: 40,
    num_position_embeddings: 16,
    deepstack_visual_indexes: [0, 2],
  },
};

export interface SyntheticOptions {
  /** Parsed config.json. @default CONFIG_SMALL */
  readonly config?: object;
  readonly dtype?: SyntheticDtype;
  /** Start a new shard when one would grow larger; one file when left out. */
  readonly maxShardBytes?: number;
  /** What a tensor is called in the file. */
  readonly rename?: (name: string) => string;
  readonly seed?: number;
  /** Mean of the weights of norms; of a trained model it is about 1. @default 0, as of all others */
  readonly normsAround?: number;
}

/** Writes a complete checkpoint directory; equal options give equal bytes. */
export async function syntheticCheckpoint(
  dir: string,
  options: SyntheticOptions = {},
): Promise<string> {
  const { config = CONFIG_SMALL, dtype = "BF16", rename = (name) => name } = options;
  await mkdir(dir, { recursive: true });
  await writeFile(join(dir, "config.json"), JSON.stringify(config, undefined, 2));
  for (const file of ["tokenizer.json", "tokenizer_config.json", "preprocessor_config.json"]) {
    await copyFile(join(TINY_CHAT, file), join(dir, file));
  }
  const specs = expectedTensors(parseConfig(config, "config.json")).map(({ name, shape }) => ({
    name: rename(name),
    shape,
  }));
  const shards = splitShards(specs, dtype, options.maxShardBytes ?? Number.POSITIVE_INFINITY);
  const weightMap: Record<string, string> = {};
  const random = new RandomWeights(dtype, options.seed ?? 1);
  const { normsAround } = options;
  const norms = normsAround === undefined ? random : new RandomWeights(dtype, 2, normsAround);
  for (const [i, shard] of shards.entries()) {
    const number = (n: number) => String(n).padStart(5, "0");
    const sharded = `model-${number(i + 1)}-of-${number(shards.length)}.safetensors`;
    const file = options.maxShardBytes === undefined ? "model.safetensors" : sharded;
    for (const { name } of shard) weightMap[name] = file;
    await writeShard(join(dir, file), shard, dtype, { random, norms });
  }
  if (options.maxShardBytes !== undefined) {
    const index = { metadata: {}, weight_map: weightMap };
    await writeFile(join(dir, "model.safetensors.index.json"), JSON.stringify(index));
  }
  return dir;
}

/** A safetensors header: length prefix and JSON. */
export function safetensorsHeader(json: string): Buffer {
  const text = Buffer.from(json);
  const prefix = Buffer.alloc(8);
  prefix.writeBigUInt64LE(BigInt(text.length));
  return Buffer.concat([prefix, text]);
}

function byteLength({ shape }: TensorSpec, dtype: SyntheticDtype): number {
  return shape.reduce((product, size) => product * size, dtype === "F32" ? 4 : 2);
}

function splitShards(
  specs: readonly TensorSpec[],
  dtype: SyntheticDtype,
  maxBytes: number,
): TensorSpec[][] {
  const shards: TensorSpec[][] = [[]];
  let size = 0;
  for (const spec of specs) {
    const bytes = byteLength(spec, dtype);
    if (size > 0 && size + bytes > maxBytes) {
      shards.push([]);
      size = 0;
    }
    shards.at(-1)?.push(spec);
    size += bytes;
  }
  return shards;
}

async function writeShard(
  path: string,
  specs: readonly TensorSpec[],
  dtype: SyntheticDtype,
  { random, norms }: Readonly<Record<"random" | "norms", RandomWeights>>,
): Promise<void> {
  const header: Record<string, object> = { __metadata__: { format: "pt" } };
  let end = 0;
  for (const spec of specs) {
    const begin = end;
    end += byteLength(spec, dtype);
    header[spec.name] = { dtype, shape: spec.shape, data_offsets: [begin, end] };
  }
  const handle = await open(path, "w");
  try {
    await handle.write(safetensorsHeader(JSON.stringify(header)));
    for (const spec of specs) {
      for (let left = byteLength(spec, dtype); left > 0; ) {
        const piece = (spec.name.includes("norm") ? norms : random).next(left);
        await handle.write(piece);
        left -= piece.byteLength;
      }
    }
  } finally {
    await handle.close();
  }
}

/** Bell-shaped weights of standard deviation 0.03; a shifted table is enough and writes gigabytes quickly. */
class RandomWeights {
  readonly #table: Uint8Array;
  readonly #elementBytes: number;
  #state: number;

  constructor(dtype: SyntheticDtype, seed: number, mean = 0) {
    this.#state = seed;
    this.#elementBytes = dtype === "F32" ? 4 : 2;
    const values = Float32Array.from({ length: 1 << 16 }, () => {
      let sum = 0;
      for (let i = 0; i < 4; i++) sum += this.#uniform() - 0.5;
      return mean + sum * 0.052;
    });
    this.#table = encode(values, dtype);
  }

  next(maxBytes: number): Uint8Array {
    const elements = this.#table.byteLength / this.#elementBytes;
    const start = Math.floor(this.#uniform() * (elements / 2)) * this.#elementBytes;
    return this.#table.subarray(start, Math.min(start + maxBytes, this.#table.byteLength));
  }

  #uniform(): number {
    this.#state = (Math.imul(this.#state, 1664525) + 1013904223) >>> 0;
    return this.#state / 2 ** 32;
  }
}

function encode(values: Float32Array, dtype: SyntheticDtype): Uint8Array {
  const bits = new Uint32Array(values.buffer);
  if (dtype === "F32") return new Uint8Array(values.buffer);
  if (dtype === "BF16") return new Uint8Array(Uint16Array.from(bits, (word) => word >>> 16).buffer);
  return new Uint8Array(Uint16Array.from(values, float16Bits).buffer);
}

/** Rounds towards zero; values below the normal range become zero. */
function float16Bits(value: number): number {
  const sign = value < 0 ? 0x8000 : 0;
  const magnitude = Math.abs(value);
  const exponent = Math.floor(Math.log2(magnitude));
  if (magnitude === 0 || exponent < -14) return sign;
  return sign | ((exponent + 15) << 10) | Math.floor((magnitude / 2 ** exponent - 1) * 1024);
}
