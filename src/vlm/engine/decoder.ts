// The language half: token ids, positions and features of pictures in, logits out, keys and values into a cache.
// Prompts go through in chunks, answers token by token. It knows nothing of text, of sampling or of who asks.

import { join } from "node:path";
import type { Qwen3VlConfig } from "../checkpoint/config.ts";
import { DisposedError, ModelLoadError } from "../errors.ts";
import { OrtError } from "../runtime/ort-error.ts";
import { Session, type SessionOptions } from "../runtime/session.ts";
import { withCpuSettings } from "./cpu-settings.ts";
import { EmbeddingTable } from "./embedding-table.ts";
import { atStage } from "./inference-error.ts";
import { KvCache } from "./kv-cache.ts";
import type { OnnxPackage } from "./onnx-package.ts";
import { mropeCosSin } from "./rotary.ts";
import { type DecoderSizes, RunBuffers } from "./run-buffers.ts";
import type { VisionFeatures } from "./vision-encoder.ts";

/** A picture among the tokens of a prompt. */
export interface PlacedFeatures {
  /** Index of its first token. Negative when its first tokens are in the cache already. */
  readonly start: number;
  readonly features: VisionFeatures;
}

/** Tokens that follow those in the cache. */
export interface DecoderInput {
  /** (S) */
  readonly ids: Int32Array;
  /** (3, S): time, height and width. */
  readonly positions: Int32Array;
  /** In order of appearance. */
  readonly images?: readonly PlacedFeatures[];
}

export interface PrefillOptions {
  /** Logits of which tokens: every one is for tests. @default "last" */
  readonly logitRows?: "last" | "all";
  /** Tokens of one run: points to cancel at, and a bound for memory. @default 256 */
  readonly chunkTokens?: number;
  readonly signal?: AbortSignal | undefined;
}

const DEFAULT_CHUNK_TOKENS = 256;

/** A loaded decoder. */
export class Decoder {
  readonly #session: Session;
  readonly #table: EmbeddingTable;
  readonly #text: Qwen3VlConfig["text"];
  readonly #sizes: DecoderSizes;
  /** What a decode step needs, kept from step to step. */
  readonly #stepBuffers = new Map<KvCache, RunBuffers>();

  private constructor(session: Session, table: EmbeddingTable, config: Qwen3VlConfig) {
    this.#session = session;
    this.#table = table;
    this.#text = config.text;
    this.#sizes = { ...config.text, deepstackTaps: config.vision.deepstackLayers.length };
  }

  /** @throws ModelLoadError */
  static async load(model: OnnxPackage, options: SessionOptions = {}): Promise<Decoder> {
    const { directory, manifest, config } = model;
    const { embedTokens } = manifest;
    const table = await EmbeddingTable.open(join(directory, embedTokens.file), embedTokens);
    try {
      const file = join(directory, manifest.decoder.file);
      const session = await Session.load(file, await withCpuSettings(options));
      return new Decoder(session, table, config);
    } catch (error) {
      await table.close();
      throw error;
    }
  }

  /**
   * An empty cache for up to `capacity` tokens. It ends with the decoder at the latest.
   *
   * @throws ModelLoadError when there is not so much memory
   */
  createCache(capacity: number): KvCache {
    const cache = this.#reserve(capacity);
    const logits = new Float32Array(this.#sizes.vocabSize); // (1, vocab)
    const buffers = new RunBuffers(this.#sizes, { tokens: 1, deepstack: false, logits });
    this.#stepBuffers.set(cache, buffers);
    cache.onDispose(() => {
      this.#stepBuffers.delete(cache);
      buffers.dispose();
    });
    return cache;
  }

  /**
   * Appends tokens to the cache.
   *
   * When it is aborted or fails, the chunks that were done are in the cache, and nothing else.
   *
   * @returns (S, vocab) or (1, vocab). The latter is the cache's own buffer: the next run on it writes there.
   * @throws InferenceError `prefill`; RangeError when the tokens do not fit; the signal's reason when aborted
   */
  async prefill(
    input: DecoderInput,
    cache: KvCache,
    options: PrefillOptions = {},
  ): Promise<Float32Array> {
    const { logitRows = "last", chunkTokens = DEFAULT_CHUNK_TOKENS, signal } = options;
    this.#check(input, cache, chunkTokens);
    const tokens = input.ids.length;
    const { vocabSize } = this.#sizes;
    const last = this.#buffersOf(cache).logits; // (1, vocab)
    const all = logitRows === "all" ? new Float32Array(tokens * vocabSize) : undefined; // (S, vocab)
    return atStage("prefill", signal, () =>
      cache.fill(async (append) => {
        for (let start = 0; start < tokens; start += chunkTokens) {
          signal?.throwIfAborted();
          const end = Math.min(start + chunkTokens, tokens);
          const logits = all?.subarray(start * vocabSize, end * vocabSize) ?? last;
          await this.#runChunk(input, start, end, logits, cache, signal);
          append(end - start);
        }
        return all ?? last;
      }),
    );
  }

  /**
   * Appends one token of text to the cache.
   *
   * @param position on all three axes.
   * @returns (1, vocab), the cache's own buffer: the next run on it writes there.
   * @throws InferenceError `decode`; RangeError when the cache is full; the signal's reason when aborted
   */
  async step(
    id: number,
    position: number,
    cache: KvCache,
    options: { readonly signal?: AbortSignal | undefined } = {},
  ): Promise<Float32Array> {
    const input = { ids: Int32Array.of(id), positions: new Int32Array(3).fill(position) };
    this.#check(input, cache, 1);
    const buffers = this.#buffersOf(cache);
    return atStage("decode", options.signal, () =>
      cache.fill(async (append) => {
        await this.#fillText(input, buffers);
        await this.#run(buffers, cache, 1, options.signal);
        append(1);
        return buffers.logits;
      }),
    );
  }

  /** Waits for runs in progress, then frees everything, caches included. Calling it again is fine. */
  async dispose(): Promise<void> {
    const ended = this.#session.dispose();
    for (const cache of this.#stepBuffers.keys()) cache.dispose();
    await Promise.all([ended, this.#table.close()]);
  }

  #reserve(capacity: number): KvCache {
    try {
      return new KvCache(this.#session, this.#text, capacity);
    } catch (cause) {
      if (!(cause instanceof OrtError)) throw cause;
      throw new ModelLoadError(
        "session-failed",
        `There is no memory for a context of ${capacity} tokens. Load the model with a smaller maxContextTokens.`,
        { cause },
      );
    }
  }

  async #runChunk(
    input: DecoderInput,
    start: number,
    end: number,
    logits: Float32Array,
    cache: KvCache,
    signal?: AbortSignal,
  ): Promise<void> {
    const tokens = end - start;
    const images = overlaps(input.images ?? [], start, end);
    using buffers = new RunBuffers(this.#sizes, { tokens, deepstack: images.length > 0, logits });
    const chunk = {
      ids: input.ids.subarray(start, end), // (S)
      positions: columns(input.positions, start, end), // (3, S)
    };
    await this.#fillText(chunk, buffers);
    for (const image of images) this.#fillImage(image, buffers, tokens);
    await this.#run(buffers, cache, tokens, signal);
  }

  async #run(
    buffers: RunBuffers,
    cache: KvCache,
    tokens: number,
    signal?: AbortSignal,
  ): Promise<void> {
    buffers.setTotalLength(cache.length + tokens);
    await this.#session.run(
      { ...buffers.inputs, ...cache.past },
      { ...buffers.outputs, ...cache.present },
      { signal },
    );
  }

  async #fillText({ ids, positions }: DecoderInput, buffers: RunBuffers): Promise<void> {
    await this.#table.read(ids, buffers.embeds);
    const { cos, sin } = mropeCosSin(positions, this.#text);
    buffers.cos.set(cos);
    buffers.sin.set(sin);
  }

  /** Puts the features of a picture in the place of its tokens' embeddings, and its DeepStack rows beside them. */
  #fillImage({ features, from, to, count }: Overlap, buffers: RunBuffers, tokens: number): void {
    const { hiddenSize, deepstackTaps } = this.#sizes;
    const rows = (array: Float32Array, row: number) =>
      array.subarray(row * hiddenSize, (row + count) * hiddenSize);
    buffers.embeds.set(rows(features.imageFeatures, from), to * hiddenSize);
    for (let tap = 0; tap < deepstackTaps; tap++) {
      const source = rows(features.deepstack, tap * features.tokens + from);
      buffers.deepstack.set(source, (tap * tokens + to) * hiddenSize);
    }
  }

  #buffersOf(cache: KvCache): RunBuffers {
    const buffers = this.#stepBuffers.get(cache);
    if (!buffers) throw new TypeError("The KV cache was made by another decoder");
    return buffers;
  }

  #check({ ids, positions, images = [] }: DecoderInput, cache: KvCache, chunkTokens: number): void {
    if (cache.disposed) throw new DisposedError("The KV cache");
    const tokens = ids.length;
    if (tokens === 0) throw new RangeError("Expected at least one token");
    if (positions.length !== 3 * tokens) {
      throw new RangeError(
        `Expected positions of shape (3, ${tokens}), got ${positions.length} numbers`,
      );
    }
    if (!Number.isSafeInteger(chunkTokens) || chunkTokens < 1) {
      throw new RangeError(
        `Expected \`chunkTokens\` to be an integer >= 1, got \`${chunkTokens}\``,
      );
    }
    if (cache.length + tokens > cache.capacity) {
      throw new RangeError(
        `The KV cache holds ${cache.length} of ${cache.capacity} tokens: ${tokens} more do not fit`,
      );
    }
    for (const { start, features } of images) {
      const end = start + features.tokens;
      if (end <= 0 || end > tokens) {
        throw new RangeError(
          `A picture takes tokens ${start} to ${end}, but there are ${tokens} tokens`,
        );
      }
    }
  }
}

/** The part of a picture that lies in a chunk. */
interface Overlap {
  readonly features: VisionFeatures;
  /** First row of the features. */
  readonly from: number;
  /** First token of the chunk. */
  readonly to: number;
  readonly count: number;
}

function overlaps(images: readonly PlacedFeatures[], start: number, end: number): Overlap[] {
  return images.flatMap((image) => {
    const first = Math.max(image.start, start);
    const count = Math.min(image.start + image.features.tokens, end) - first;
    if (count <= 0) return [];
    return [{ features: image.features, from: first - image.start, to: first - start, count }];
  });
}

/** Columns `start` to `end` of a matrix of three rows. */
function columns(matrix: Int32Array, start: number, end: number): Int32Array {
  const width = matrix.length / 3;
  const part = new Int32Array(3 * (end - start));
  for (let row = 0; row < 3; row++) {
    part.set(matrix.subarray(row * width + start, row * width + end), row * (end - start));
  }
  return part;
}
