// Runs the graphs of a package with the JS binding of ONNX Runtime, for tests of the converter alone: no in-place
// cache, everything fetched. Set `exact` off to see what int8 weights do on a CPU that saturates.

import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { InferenceSession, Tensor } from "onnxruntime-node";
import type { Qwen3VlConfig } from "../../src/vlm/checkpoint/config.ts";
import { toFloat32 } from "../../src/vlm/checkpoint/dtype.ts";
import { readModelSettings } from "../../src/vlm/checkpoint/open-checkpoint.ts";
import { readManifest } from "../../src/vlm/convert/manifest.ts";
import { mropeCosSin } from "../../src/vlm/engine/rotary.ts";
import { visionInputs } from "../../src/vlm/engine/vision-inputs.ts";
import type { GoldenCase } from "./golden-checkpoint.ts";

export interface Features {
  /** (image tokens, hidden) */
  readonly image: Float32Array;
  /** one (image tokens, hidden) per tap */
  readonly deepstack: readonly Float32Array[];
}

export interface DecoderStep {
  readonly ids: readonly number[];
  /** (3, tokens) */
  readonly positions: readonly (readonly number[])[];
  /** Features of the picture tokens among `ids`, in order. */
  readonly features?: Features | undefined;
}

/** Opens a session the way the runtime does. */
export async function openSession(
  file: string | Uint8Array,
  exact = true,
): Promise<InferenceSession> {
  const extra = { session: { x64quantprecision: exact ? "1" : "0" } };
  const options = { intraOpNumThreads: 1, extra };
  return typeof file === "string"
    ? await InferenceSession.create(file, options)
    : await InferenceSession.create(file, options);
}

export class GraphRunner {
  readonly config: Qwen3VlConfig;
  readonly #vision: InferenceSession;
  readonly #decoder: InferenceSession;
  readonly #table: Float32Array;
  /** Keys and values by name, (1, kv heads, capacity, head size) */
  #cache = new Map<string, Tensor>();
  #length = 0;

  private constructor(
    config: Qwen3VlConfig,
    vision: InferenceSession,
    decoder: InferenceSession,
    table: Float32Array,
  ) {
    this.config = config;
    this.#vision = vision;
    this.#decoder = decoder;
    this.#table = table;
  }

  static async open(dir: string, exact = true): Promise<GraphRunner> {
    const { config } = await readModelSettings(dir);
    const manifest = await readManifest(dir);
    const { file, dtype, rows, columns } = manifest.embedTokens;
    const table = new Float32Array(rows * columns); // (vocabulary, hidden)
    toFloat32(new Uint8Array(await readFile(join(dir, file))), dtype, table, table.length);
    return new GraphRunner(
      config,
      await openSession(join(dir, manifest.visionEncoder.file), exact),
      await openSession(join(dir, manifest.decoder.file), exact),
      table,
    );
  }

  async close(): Promise<void> {
    await this.#vision.release();
    await this.#decoder.release();
  }

  /** One picture; pixelValues (patches, columns) in merge-block order. */
  async encode(pixelValues: Float32Array, height: number, width: number): Promise<Features> {
    const { vision } = this.config;
    const inputs = visionInputs(height, width, vision);
    const { patches } = inputs;
    const angles = [1, patches, vision.headSize / 2];
    const outputs = await this.#vision.run({
      pixel_values: f32(pixelValues, [patches, pixelValues.length / patches]),
      pos_embed_indices: new Tensor("int64", inputs.positionIndices, [4, patches]),
      pos_embed_weights: f32(inputs.positionWeights, [4, patches]),
      rotary_cos: f32(inputs.rotaryCos, angles),
      rotary_sin: f32(inputs.rotarySin, angles),
    });
    const deepstack = floats(outputs.deepstack_features);
    const tap = deepstack.length / vision.deepstackLayers.length;
    return {
      image: floats(outputs.image_features),
      deepstack: vision.deepstackLayers.map((_, k) => deepstack.slice(k * tap, (k + 1) * tap)),
    };
  }

  /** Empties the cache. */
  reset(capacity: number): void {
    const { layers, kvHeads, headSize } = this.config.text;
    this.#length = 0;
    this.#cache = new Map();
    for (let layer = 0; layer < layers; layer++) {
      for (const part of ["key", "value"]) {
        const size = kvHeads * capacity * headSize;
        const tensor = f32(new Float32Array(size), [1, kvHeads, capacity, headSize]);
        this.#cache.set(`${layer}.${part}`, tensor);
      }
    }
  }

  /** Appends tokens; returns the logits of each, (tokens, vocabulary). */
  async decode(step: DecoderStep): Promise<Float32Array> {
    const { text, vision } = this.config;
    const tokens = step.ids.length;
    const h = text.hiddenSize;
    const embeds = new Float32Array(tokens * h); // (1, tokens, hidden)
    const taps = vision.deepstackLayers.length;
    const deepstack = new Float32Array(step.features ? taps * tokens * h : taps * h);
    let picture = 0;
    step.ids.forEach((id, i) => {
      const row = this.#table.subarray(id * h, (id + 1) * h);
      if (step.features === undefined || id !== this.config.imageTokenId) {
        embeds.set(row, i * h);
        return;
      }
      const from = picture++ * h;
      embeds.set(step.features.image.subarray(from, from + h), i * h);
      step.features.deepstack.forEach((tap, k) => {
        deepstack.set(tap.subarray(from, from + h), (k * tokens + i) * h);
      });
    });
    const { cos, sin } = mropeCosSin(Int32Array.from(step.positions.flat()), text);
    this.#length += tokens;
    const feeds: Record<string, Tensor> = {
      inputs_embeds: f32(embeds, [1, tokens, h]),
      deepstack_embeds: f32(deepstack, [taps, 1, step.features ? tokens : 1, h]),
      rotary_cos: f32(cos, [1, tokens, text.headSize / 2]),
      rotary_sin: f32(sin, [1, tokens, text.headSize / 2]),
      seqlens_k: new Tensor("int32", Int32Array.of(this.#length - 1), [1]),
      total_sequence_length: new Tensor("int32", Int32Array.of(this.#length), []),
      logit_rows: new Tensor(
        "int64",
        BigInt64Array.from(step.ids, (_, i) => BigInt(i)),
        [tokens],
      ),
    };
    for (const [name, tensor] of this.#cache) feeds[`past_key_values.${name}`] = tensor;
    const outputs = await this.#decoder.run(feeds);
    for (const name of this.#cache.keys()) {
      const present = outputs[`present.${name}`];
      if (present !== undefined) this.#cache.set(name, present);
    }
    return floats(outputs.logits);
  }
}

/** The pictures of a golden case one by one, as the engine does, then joined as the golden file has them. */
export async function encodeGoldenPictures(
  runner: GraphRunner,
  golden: GoldenCase,
): Promise<Features | undefined> {
  const parts: Features[] = [];
  let start = 0;
  for (const [, height, width] of golden.grids) {
    const end = start + height * width * 1536;
    parts.push(await runner.encode(golden.pixelValues.slice(start, end), height, width));
    start = end;
  }
  if (parts.length === 0) return undefined;
  return {
    image: concatenate(parts.map(({ image }) => image)),
    deepstack: golden.deepstack.map((_, k) =>
      concatenate(parts.map(({ deepstack }) => deepstack[k] ?? new Float32Array(0))),
    ),
  };
}

function concatenate(parts: readonly Float32Array[]): Float32Array {
  return Float32Array.from(parts.flatMap((part) => [...part]));
}

function f32(data: Float32Array, shape: readonly number[]): Tensor {
  return new Tensor("float32", data, shape);
}

function floats(tensor: Tensor | undefined): Float32Array {
  if (!(tensor?.data instanceof Float32Array)) throw new Error("Expected an f32 output.");
  return tensor.data;
}
