// A prompt through a decoder in chunks, without the loop: what tests of the decoder itself are written in.

import type { Decoder } from "../../src/vlm/engine/decoder.ts";
import type { DecoderInput } from "../../src/vlm/engine/decoder-backend.ts";
import { sliceInput } from "../../src/vlm/engine/decoder-input.ts";
import type { KvCache } from "../../src/vlm/engine/kv-cache.ts";

export interface ChunkOptions {
  /** @default "last" */
  readonly logitRows?: "last" | "all";
  /** @default all at once */
  readonly chunkTokens?: number;
  readonly signal?: AbortSignal;
}

/** A slot of its own pool. */
export function openCache(decoder: Decoder, capacity: number): KvCache {
  return decoder.createSlots(1, capacity).open();
}

/** Appends an input chunk by chunk. Returns (S, vocab) or (1, vocab). */
export async function prefill(
  decoder: Decoder,
  input: DecoderInput,
  cache: KvCache,
  options: ChunkOptions = {},
): Promise<Float32Array> {
  const { logitRows = "last", chunkTokens = input.ids.length, signal } = options;
  const scores: Float32Array[] = [];
  let start = 0;
  do {
    const end = Math.min(start + chunkTokens, input.ids.length);
    const chunk = sliceInput(input, start, end);
    start = end;
    const wanted = await decoder.append(chunk, cache, {
      scores: logitRows,
      ...(signal ? { signal } : {}),
    });
    // They are valid until the next run.
    scores.push(...wanted.map((row) => Float32Array.from(row)));
  } while (start < input.ids.length);
  const rows = logitRows === "all" ? scores : scores.slice(-1);
  return Float32Array.from(rows.flatMap((row) => [...row]));
}

/** Appends one token and returns a copy of the scores after it. */
export async function step(
  decoder: Decoder,
  id: number,
  position: number,
  slot: KvCache,
  options: { readonly signal?: AbortSignal } = {},
): Promise<Float32Array> {
  const [scores] = await decoder.decode([{ slot, id, position }], options);
  return Float32Array.from(scores!);
}
