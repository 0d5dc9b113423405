// The inputs and outputs of one decoder run of a given shape, except for keys and values: arrays to fill in, and the
// values that are bound to them. It knows the names of the decoder's graph and nothing of its meaning.

import type { NamedValues } from "../runtime/session.ts";
import { Value } from "../runtime/value.ts";
import type { TokenRows } from "./place-features.ts";

/** Sizes of the decoder's inputs and outputs. */
export interface DecoderSizes {
  readonly hiddenSize: number;
  readonly headSize: number;
  readonly vocabSize: number;
  readonly deepstackTaps: number;
}

export interface RunShape {
  /** Sequences: B. @default 1 */
  readonly batch?: number;
  /** Tokens of each: S. */
  readonly tokens: number;
  /** So many of the last tokens are each the next one of another sequence; `batch` is 1 then. @default 0 */
  readonly joined?: number;
  /** Does the run hold tokens of pictures? */
  readonly deepstack: boolean;
  /** Of how many tokens the logits are wanted: the last R of all B * S. */
  readonly rows: number;
  /** (R, vocab) to write them into, instead of a new array. */
  readonly logits?: Float32Array | undefined;
}

/** Arrays of one run, bound. Dispose them when they will not run again. */
export class RunBuffers {
  /** (B, S, hidden) */
  readonly embeds: Float32Array;
  /** (taps, B, S, hidden), zeros; (taps, 1, 1, hidden) when the run has no picture. */
  readonly deepstack: Float32Array;
  /** (B, S, headSize / 2) */
  readonly cos: Float32Array;
  readonly sin: Float32Array;
  /** (R, vocab) */
  readonly logits: Float32Array;
  readonly inputs: NamedValues;
  readonly outputs: NamedValues;
  readonly #sizes: DecoderSizes;
  readonly #tokens: number;
  readonly #joined: number;
  readonly #lastIndices: Int32Array; // (B)
  readonly #longest = new Int32Array(1); // scalar
  readonly #joinedLastIndices: Int32Array; // (J)
  readonly #joinedLongest = new Int32Array(1); // scalar

  constructor(sizes: DecoderSizes, shape: RunShape) {
    const { batch = 1, tokens, joined = 0, deepstack, rows, logits } = shape;
    const { hiddenSize, headSize, vocabSize, deepstackTaps } = sizes;
    const half = headSize / 2;
    const all = batch * tokens;
    const picture = deepstack ? [batch, tokens] : [1, 1];
    this.embeds = new Float32Array(all * hiddenSize);
    this.deepstack = new Float32Array(deepstackTaps * picture[0]! * picture[1]! * hiddenSize);
    this.cos = new Float32Array(all * half);
    this.sin = new Float32Array(all * half);
    this.logits = logits ?? new Float32Array(rows * vocabSize);
    this.#sizes = sizes;
    this.#tokens = tokens;
    this.#joined = joined;
    this.#lastIndices = new Int32Array(batch);
    this.#joinedLastIndices = new Int32Array(joined);
    const logitRows = BigInt64Array.from({ length: rows }, (_, row) => BigInt(all - rows + row));
    this.inputs = {
      inputs_embeds: Value.of(this.embeds, [batch, tokens, hiddenSize]),
      deepstack_embeds: Value.of(this.deepstack, [deepstackTaps, ...picture, hiddenSize]),
      rotary_cos: Value.of(this.cos, [batch, tokens, half]),
      rotary_sin: Value.of(this.sin, [batch, tokens, half]),
      seqlens_k: Value.of(this.#lastIndices, [batch]),
      total_sequence_length: Value.of(this.#longest, []),
      logit_rows: Value.of(logitRows, [rows]),
      ...(joined === 0 ? {} : this.#joinedInputs()),
    };
    this.outputs = { logits: Value.of(this.logits, [rows, vocabSize]) };
  }

  /** Says how many tokens each cache holds after the run. */
  setLengths(lengths: readonly number[]): void {
    for (const [row, length] of lengths.entries()) this.#lastIndices[row] = length - 1;
    this.#longest[0] = Math.max(...lengths);
  }

  /** The same of the sequences whose tokens come last, in their order. */
  setJoinedLengths(lengths: readonly number[]): void {
    for (const [row, length] of lengths.entries()) this.#joinedLastIndices[row] = length - 1;
    this.#joinedLongest[0] = Math.max(...lengths);
  }

  /** Where the features of pictures go. */
  get tokenRows(): TokenRows {
    const { embeds, deepstack } = this;
    const { hiddenSize } = this.#sizes;
    return { tokens: this.#tokens, joined: this.#joined, hiddenSize, embeds, deepstack };
  }

  /** Logits of row `row`, (vocab). */
  scores(row: number): Float32Array {
    const { vocabSize } = this.#sizes;
    return this.logits.subarray(row * vocabSize, (row + 1) * vocabSize);
  }

  dispose(): void {
    for (const value of [...Object.values(this.inputs), ...Object.values(this.outputs)]) {
      value.dispose();
    }
  }

  [Symbol.dispose](): void {
    this.dispose();
  }

  #joinedInputs(): NamedValues {
    const joined = this.#joined;
    const first = this.#tokens - joined;
    const places = BigInt64Array.from({ length: 2 * joined }, (_, i) =>
      i % 2 === 0 ? 0n : BigInt(first + (i - 1) / 2),
    );
    return {
      joined: Value.of(Int32Array.of(joined), [1]),
      joined_places: Value.of(places, [joined, 1, 2]),
      joined_seqlens_k: Value.of(this.#joinedLastIndices, [joined]),
      joined_total_sequence_length: Value.of(this.#joinedLongest, []),
    };
  }
}
