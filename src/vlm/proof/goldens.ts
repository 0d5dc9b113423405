// The golden checkpoints that ship with the package, and what a reference implementation computed with them. In: a
// name. Out: a complete checkpoint in a directory of your choice, and its cases with tensors decoded.

import { copyFile, mkdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { packagePath } from "../../package-root.ts";

/** Files a published checkpoint has besides, from the tiny chat model, which shares every preprocessing size. */
export const BORROWED_FILES = [
  "tokenizer.json",
  "tokenizer_config.json",
  "preprocessor_config.json",
];

export const GOLDEN_NAMES = ["tiny-tied", "tiny-untied"] as const;
export type GoldenName = (typeof GOLDEN_NAMES)[number];

/** The id of a picture's tokens in both checkpoints. */
export const GOLDEN_IMAGE_TOKEN = 250;

/** One case of expected.json, tensors decoded. */
export interface GoldenCase {
  readonly name: string;
  readonly inputIds: readonly number[];
  /** One (1, height, width) in patches per picture. */
  readonly grids: readonly (readonly [number, number, number])[];
  /** (patches of all pictures, 1536) */
  readonly pixelValues: Float32Array;
  /** (image tokens of all pictures, hidden) */
  readonly imageFeatures: Float32Array;
  /** one (image tokens, hidden) per tap */
  readonly deepstack: readonly Float32Array[];
  /** (3, tokens) */
  readonly positionIds: readonly (readonly number[])[];
  readonly ropeDelta: number;
  /** (tokens, vocabulary) */
  readonly logits: Float32Array;
  readonly greedyTokens: readonly number[];
  /** one (vocabulary) per decode step: after greedy token i has been fed */
  readonly decodeLogits: readonly Float32Array[];
}

/** Puts a complete checkpoint directory together below `parent`. */
export async function goldenCheckpoint(name: GoldenName, parent: string): Promise<string> {
  const dir = join(parent, name);
  await mkdir(dir, { recursive: true });
  for (const file of ["config.json", "model.safetensors"]) {
    await copyFile(packagePath(`test/goldens/${name}/${file}`), join(dir, file));
  }
  for (const file of BORROWED_FILES) {
    await copyFile(packagePath(`examples/tiny-chat/${file}`), join(dir, file));
  }
  return dir;
}

export async function goldenCases(name: GoldenName): Promise<GoldenCase[]> {
  const path = packagePath(`test/goldens/${name}/expected.json`);
  const cases = JSON.parse(await readFile(path, "utf8")) as Record<string, StoredCase>;
  return Object.entries(cases).map(([caseName, stored]) => ({
    name: caseName,
    inputIds: stored.input_ids,
    grids: stored.image_grid_thw,
    pixelValues: floats(stored.pixel_values_f32_b64),
    imageFeatures: floats(stored.image_features_f32_b64),
    deepstack: (stored.deepstack_f32_b64 ?? []).map(floats),
    positionIds: stored.position_ids,
    ropeDelta: stored.rope_delta,
    logits: floats(stored.logits_f32_b64),
    greedyTokens: stored.greedy_6_tokens,
    decodeLogits: stored.decode_logits_f32_b64.map(floats),
  }));
}

interface StoredCase {
  readonly input_ids: number[];
  readonly image_grid_thw: [number, number, number][];
  readonly pixel_values_f32_b64?: string;
  readonly image_features_f32_b64?: string;
  readonly deepstack_f32_b64?: string[];
  readonly position_ids: number[][];
  readonly rope_delta: number;
  readonly logits_f32_b64: string;
  readonly greedy_6_tokens: number[];
  readonly decode_logits_f32_b64: string[];
}

function floats(base64 = ""): Float32Array {
  const bytes = Buffer.from(base64, "base64");
  // A copy at offset 0: Buffer slices need not be aligned.
  return new Float32Array(new Uint8Array(bytes).buffer);
}
