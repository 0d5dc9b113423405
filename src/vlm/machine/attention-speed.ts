// How fast this CPU looks up kept keys and values, by their number format: for a token of an answer and for a piece of a
// prompt. Out: milliseconds. The sizes are those of a 2B's layers; what is kept is noise.

import { CachedAttention, type CacheFormat } from "../convert/cached-attention.ts";
import { elementTypeCode, OnnxModel } from "../convert/onnx-model.ts";
import { elementCount } from "../runtime/element-type.ts";
import { Session, type SessionOptions } from "../runtime/session.ts";
import { Value } from "../runtime/value.ts";
import { fastestRun, type Measurable } from "./fastest-run.ts";
import type { Noise } from "./noise.ts";

export interface AttentionSpeed {
  readonly cache: CacheFormat;
  /** Tokens that were there before. */
  readonly context: number;
  /** Milliseconds of one layer for one token. */
  readonly stepMs: number;
  /** The same for 256 tokens of a prompt. */
  readonly chunkMs: number;
}

export const MEASURED_CONTEXT = 1024;
export const MEASURED_CHUNK = 256;
const [HEADS, KV_HEADS, HEAD_SIZE] = [16, 8, 128];
const WIDTH = HEADS * HEAD_SIZE;
/** Together they keep more than most caches of a CPU hold, as the layers of a model do. */
const STEP_LAYERS = 4;
/** Where arithmetic is what takes the time. */
const CHUNK_LAYERS = 1;

export interface AttentionOptions extends SessionOptions {
  /** Tokens that were there before. @default 1024 */
  readonly context?: number;
}

/** Attention over one number format, ready to be measured. */
export function loadAttention(
  cache: CacheFormat,
  options: AttentionOptions,
): Promise<Measurable<AttentionSpeed>> {
  return Attention.load(cache, options);
}

class Attention implements Measurable<AttentionSpeed> {
  readonly #cache: CacheFormat;
  readonly #context: number;
  readonly #step: Session;
  readonly #chunk: Session;

  private constructor(cache: CacheFormat, context: number, step: Session, chunk: Session) {
    this.#cache = cache;
    this.#context = context;
    this.#step = step;
    this.#chunk = chunk;
  }

  static async load(
    cache: CacheFormat,
    { context = MEASURED_CONTEXT, ...options }: AttentionOptions,
  ): Promise<Attention> {
    const step = await Session.load(attentionGraph(cache, STEP_LAYERS), options);
    try {
      const chunk = await Session.load(attentionGraph(cache, CHUNK_LAYERS), options);
      return new Attention(cache, context, step, chunk);
    } catch (error) {
      await step.dispose();
      throw error;
    }
  }

  /** Takes about a tenth of a second. */
  async measure(noise: Noise): Promise<AttentionSpeed> {
    const [cache, context] = [this.#cache, this.#context];
    const stepMs = await fastest(this.#step, noise, { tokens: 1, before: context });
    const chunkMs = await fastest(this.#chunk, noise, { tokens: MEASURED_CHUNK, before: context });
    return { cache, context, stepMs: stepMs / STEP_LAYERS, chunkMs: chunkMs / CHUNK_LAYERS };
  }

  async dispose(): Promise<void> {
    await Promise.all([this.#step.dispose(), this.#chunk.dispose()]);
  }
}

/** Layers of nothing but attention, one after the other. */
function attentionGraph(cache: CacheFormat, layers: number): Uint8Array {
  const model = new OnnxModel("attention");
  const text = { layers, heads: HEADS, kvHeads: KV_HEADS, headSize: HEAD_SIZE };
  const attention = new CachedAttention(model, text, cache);
  let x = model.input("inputs_embeds", "f32", ["batch", "sequence", WIDTH]);
  model.input("seqlens_k", "i32", ["batch"]);
  model.input("total_sequence_length", "i32", []);
  attention.begin();
  const width = model.constant("kv_width", "i64", [1], [KV_HEADS * HEAD_SIZE]);
  const zero = model.constant("from_zero", "i64", [1], [0]);
  const axis = model.constant("last_axis", "i64", [1], [2]);
  for (let layer = 0; layer < layers; layer++) {
    const keys = model.node("Slice", `keys.${layer}`, [x, zero, width, axis]);
    const values = model.node("Cast", `values.${layer}`, [keys], {
      to: { int: elementTypeCode("f32") },
    });
    x = attention.attend(layer, `mixed.${layer}`, { queries: x, keys, values });
  }
  attention.end();
  model.output(x, "f32", ["batch", "sequence", WIDTH]);
  return model.serialize("attention.data", "1");
}

/** Milliseconds of a run at its best. */
async function fastest(
  session: Session,
  noise: Noise,
  { tokens, before }: { readonly tokens: number; readonly before: number },
): Promise<number> {
  const own: Record<string, Value> = {
    seqlens_k: Value.of(Int32Array.of(before + tokens - 1), [1]),
    total_sequence_length: Value.of(Int32Array.of(before + tokens), []),
  };
  const [inputs, outputs] = [{ ...own }, {} as Record<string, Value>];
  for (const { name, type, dims } of session.inputs) {
    if (type === undefined || name in own) continue;
    const isKept = name.startsWith("past_key_values.");
    const kept = [1, KV_HEADS, before + MEASURED_CHUNK, HEAD_SIZE];
    const value = noise.tensor(type, isKept ? kept : sized(dims, tokens));
    inputs[name] = value;
    if (isKept) outputs[name.replace("past_key_values", "present")] = value;
  }
  for (const { name, dims } of session.outputs) {
    if (name in outputs) continue;
    const shape = sized(dims, tokens);
    own[name] = Value.of(new Float32Array(elementCount(shape)), shape);
    outputs[name] = own[name];
  }
  try {
    return await fastestRun(() => session.run(inputs, outputs));
  } finally {
    for (const value of Object.values(own)) value.dispose();
  }
}

/** A shape in which names stand for the sizes of one sequence. */
function sized(dims: readonly (number | string)[], tokens: number): number[] {
  return dims.map((size) => (typeof size === "number" ? size : size === "batch" ? 1 : tokens));
}
