// How fast this CPU looks up kept keys and values, by their number format: for a token of an answer and for a piece of a
// prompt. Out: milliseconds. The sizes are those of a 2B's layers; what is kept is noise.

import { CachedAttention, type CacheFormat } from "../convert/cached-attention.ts";
import { elementTypeCode, OnnxModel } from "../convert/onnx-model.ts";
import { Session, type SessionOptions } from "../runtime/session.ts";
import { Value } from "../runtime/value.ts";

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
/** Together they keep more than most caches of a CPU hold. */
const LAYERS = 4;
const STEPS = 8;
const CHUNKS = 2;

/** Measures one number format in about a second. */
export async function measureAttention(
  cache: CacheFormat,
  options: SessionOptions,
  context = MEASURED_CONTEXT,
): Promise<AttentionSpeed> {
  const capacity = context + MEASURED_CHUNK;
  await using session = await Session.load(attentionGraph(cache), options);
  const kept: Value[] = [];
  try {
    const [past, present]: Record<string, Value>[] = [{}, {}];
    for (const { name, type } of session.inputs) {
      if (!name.startsWith("past_key_values.") || type === undefined) continue;
      const value = session.allocate(type, [1, KV_HEADS, capacity, HEAD_SIZE]);
      kept.push(value);
      past![name] = value;
      present![name.replace("past_key_values", "present")] = value;
    }
    const run = (tokens: number, times: number, before: number) =>
      fastest(session, past!, present!, { tokens, times, before });
    // Fills what is looked up, and makes its pages exist.
    for (let before = 0; before < context; before += MEASURED_CHUNK) {
      await run(MEASURED_CHUNK, 1, before);
    }
    const stepMs = (await run(1, STEPS, context)) / LAYERS;
    const chunkMs = (await run(MEASURED_CHUNK, CHUNKS, context)) / LAYERS;
    return { cache, context, stepMs, chunkMs };
  } finally {
    for (const value of kept) value.dispose();
  }
}

/** Layers of nothing but attention, one after the other. */
function attentionGraph(cache: CacheFormat): Uint8Array {
  const model = new OnnxModel("attention");
  const text = { layers: LAYERS, heads: HEADS, kvHeads: KV_HEADS, headSize: HEAD_SIZE };
  const attention = new CachedAttention(model, text, cache);
  let x = model.input("inputs_embeds", "f32", ["batch", "sequence", HEADS * HEAD_SIZE]);
  model.input("seqlens_k", "i32", ["batch"]);
  model.input("total_sequence_length", "i32", []);
  attention.begin();
  const width = model.constant("kv_width", "i64", [1], [KV_HEADS * HEAD_SIZE]);
  const zero = model.constant("from_zero", "i64", [1], [0]);
  const axis = model.constant("last_axis", "i64", [1], [2]);
  for (let layer = 0; layer < LAYERS; layer++) {
    const keys = model.node("Slice", `keys.${layer}`, [x, zero, width, axis]);
    const values = model.node("Cast", `values.${layer}`, [keys], {
      to: { int: elementTypeCode("f32") },
    });
    x = attention.attend(layer, `mixed.${layer}`, { queries: x, keys, values });
  }
  attention.end();
  model.output(x, "f32", ["batch", "sequence", HEADS * HEAD_SIZE]);
  return model.serialize("attention.data", "1");
}

/** Milliseconds of the fastest of a few runs: whatever else the machine does only makes them slower. */
async function fastest(
  session: Session,
  past: Record<string, Value>,
  present: Record<string, Value>,
  { tokens, times, before }: { tokens: number; times: number; before: number },
): Promise<number> {
  const shape = [1, tokens, HEADS * HEAD_SIZE];
  const data = new Float32Array(tokens * HEADS * HEAD_SIZE);
  for (let i = 0; i < data.length; i++) data[i] = (((i * 40_503) & 0xffff) - 0x8000) / 0x8000;
  const scales = session.inputs.some(({ name }) => name === "value_scales");
  const values = {
    inputs_embeds: Value.of(data, shape),
    seqlens_k: Value.of(Int32Array.of(before + tokens - 1), [1]),
    total_sequence_length: Value.of(Int32Array.of(before + tokens), []),
    ...(scales ? { value_scales: Value.of(new Float32Array(LAYERS).fill(1 / 64), [LAYERS]) } : {}),
  };
  const outputs = {
    [`mixed.${LAYERS - 1}`]: Value.of(new Float32Array(data.length), shape),
    ...(scales ? { value_scales_used: Value.of(new Float32Array(LAYERS), [LAYERS]) } : {}),
  };
  try {
    let best = Number.POSITIVE_INFINITY;
    for (let time = 0; time < times; time++) {
      const start = performance.now();
      await session.run({ ...values, ...past }, { ...outputs, ...present });
      best = Math.min(best, performance.now() - start);
    }
    return best;
  } finally {
    for (const value of [...Object.values(values), ...Object.values(outputs)]) value.dispose();
  }
}
