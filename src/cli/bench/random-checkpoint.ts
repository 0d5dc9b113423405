// A checkpoint of any size whose weights are random, written on the spot: as fast to run as a trained one, and
// nothing to download. In: a size. Out: a directory that the converter takes.

import { createHash } from "node:crypto";
import { mkdir, open, readFile, rename, rm, writeFile } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { parseConfig } from "../../vlm/checkpoint/config.ts";
import { expectedTensors, type TensorSpec } from "../../vlm/checkpoint/tensor-names.ts";
import type { ShapeName } from "./shape-names.ts";
import { configOf } from "./shapes.ts";
import { tokenizerJson } from "./synthetic-tokenizer.ts";

/** Changes whenever the same size would give another checkpoint. */
const RECIPE = 1;
const RECIPE_FILE = "benchmark.json";
/** Standard deviation of the weights: what the models were initialised with before training. */
const SPREAD = 0.02;
/** bf16 numbers made at once. */
const PIECE = 2 ** 21;

/** Makes the checkpoint unless it is there already. */
export async function ensureRandomCheckpoint(
  dir: string,
  shape: ShapeName,
  signal: AbortSignal,
): Promise<void> {
  const recipe = JSON.stringify({ recipe: RECIPE, shape });
  const found = await readFile(join(dir, RECIPE_FILE), "utf8").catch(() => undefined);
  if (found === recipe) return;
  const staging = join(dirname(dir), `.${basename(dir)}.${process.pid}.tmp`);
  await rm(staging, { recursive: true, force: true });
  await mkdir(staging, { recursive: true });
  try {
    const config = configOf(shape);
    await writeFile(join(staging, "config.json"), JSON.stringify(config));
    await writeFile(join(staging, "tokenizer.json"), tokenizerJson());
    await writeFile(join(staging, "tokenizer_config.json"), "{}");
    await writeFile(join(staging, "generation_config.json"), GENERATION);
    await writeFile(join(staging, "preprocessor_config.json"), PREPROCESSOR);
    const tensors = expectedTensors(parseConfig(config, "config.json"));
    await writeWeights(join(staging, "model.safetensors"), tensors, signal);
    await writeFile(join(staging, RECIPE_FILE), recipe);
    await rm(dir, { recursive: true, force: true });
    await rename(staging, dir);
  } catch (error) {
    await rm(staging, { recursive: true, force: true });
    throw error;
  }
}

const GENERATION = JSON.stringify({ temperature: 0.7, top_p: 0.8, top_k: 20 });

const PREPROCESSOR = JSON.stringify({
  image_processor_type: "Qwen2VLImageProcessorFast",
  size: { shortest_edge: 65_536, longest_edge: 16_777_216 },
  patch_size: 16,
  temporal_patch_size: 2,
  merge_size: 2,
  image_mean: [0.5, 0.5, 0.5],
  image_std: [0.5, 0.5, 0.5],
});

async function writeWeights(
  path: string,
  tensors: readonly TensorSpec[],
  signal: AbortSignal,
): Promise<void> {
  const file = await open(path, "w");
  try {
    await file.write(safetensorsHeader(tensors));
    const levels = gaussianLevels();
    for (const { name, shape } of tensors) {
      const count = elements(shape);
      const fill = fillerOf(name, levels);
      for (let start = 0; start < count; start += PIECE) {
        signal.throwIfAborted();
        const values = new Uint16Array(Math.min(PIECE, count - start)); // bf16
        fill(values);
        await file.write(new Uint8Array(values.buffer));
      }
    }
  } finally {
    await file.close();
  }
}

function safetensorsHeader(tensors: readonly TensorSpec[]): Uint8Array {
  let offset = 0;
  const entries = tensors.map(({ name, shape }) => {
    const start = offset;
    offset += 2 * elements(shape);
    return [name, { dtype: "BF16", shape, data_offsets: [start, offset] }] as const;
  });
  const json = JSON.stringify(Object.fromEntries(entries));
  const text = Buffer.from(json.padEnd(Math.ceil(json.length / 8) * 8));
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(text.byteLength));
  return Buffer.concat([length, text]);
}

const BF16_ONE = 0x3f80;

type Fill = (values: Uint16Array) => void;

/** Norms are ones and biases zeros, so that activations keep their size through any number of layers. */
function fillerOf(name: string, levels: Uint16Array): Fill {
  if (name.endsWith(".bias")) return (values) => values.fill(0);
  if (name.includes("norm")) return (values) => values.fill(BF16_ONE);
  // Every tensor is different: ONNX Runtime keeps equal ones once, which would flatter memory and speed.
  let state = createHash("sha256").update(name).digest().readUInt32LE() | 1;
  return (values) => {
    for (let i = 0; i < values.length; i++) {
      state ^= state << 13;
      state ^= state >>> 17;
      state ^= state << 5;
      values[i] = levels[state & 0xffff]!;
    }
  };
}

/** 65,536 draws from the normal distribution as bf16, one for every 16 random bits. */
function gaussianLevels(): Uint16Array {
  const count = 0x10000;
  const floats = new Float32Array(count);
  for (let i = 0; i < count; i += 2) {
    // Box and Muller; radius and angle come from well spread fractions.
    const radius = SPREAD * Math.sqrt(-2 * Math.log((i / 2 + 0.5) / (count / 2)));
    const angle = 2 * Math.PI * ((i * 0.618_033_988_75) % 1);
    floats[i] = radius * Math.cos(angle);
    floats[i + 1] = radius * Math.sin(angle);
  }
  const bits = new Uint32Array(floats.buffer);
  return Uint16Array.from(bits, (value) => value >>> 16);
}

function elements(shape: readonly number[]): number {
  return shape.reduce((product, size) => product * size, 1);
}
