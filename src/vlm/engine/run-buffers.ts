// The inputs and outputs of one decoder run of a given shape, except for keys and values: arrays to fill in, and the
// values that are bound to them. It knows the names of the decoder's graph and nothing of its meaning.

import type { NamedValues } from "../runtime/session.ts";
import { Value } from "../runtime/value.ts";

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
  readonly #vocabSize: number;
  readonly #lastIndices: Int32Array; // (B)
  readonly #longest = new Int32Array(1); // scalar

  constructor(sizes: DecoderSizes, { batch = 1, tokens, deepstack, rows, logits }: RunShape) {
    const { hiddenSize, headSize, vocabSize, deepstackTaps } = sizes;
    const half = headSize / 2;
    const all = batch * tokens;
    const picture = deepstack ? [batch, tokens] : [1, 1];
    this.embeds = new Float32Array(all * hiddenSize);
    this.deepstack = new Float32Array(deepstackTaps * picture[0]! * picture[1]! * hiddenSize);
    this.cos = new Float32Array(all * half);
    this.sin = new Float32Array(all * half);
    this.logits = logits ?? new Float32Array(rows * vocabSize);
    this.#vocabSize = vocabSize;
    this.#lastIndices = new Int32Array(batch);
    const logitRows = BigInt64Array.from({ length: rows }, (_, row) => BigInt(all - rows + row));
    this.inputs = {
      inputs_embeds: Value.of(this.embeds, [batch, tokens, hiddenSize]),
      deepstack_embeds: Value.of(this.deepstack, [deepstackTaps, ...picture, hiddenSize]),
      rotary_cos: Value.of(this.cos, [batch, tokens, half]),
      rotary_sin: Value.of(this.sin, [batch, tokens, half]),
      seqlens_k: Value.of(this.#lastIndices, [batch]),
      total_sequence_length: Value.of(this.#longest, []),
      logit_rows: Value.of(logitRows, [rows]),
    };
    this.outputs = { logits: Value.of(this.logits, [rows, vocabSize]) };
  }

  /** Says how many tokens each cache holds after the run. */
  setLengths(lengths: readonly number[]): void {
    for (const [row, length] of lengths.entries()) this.#lastIndices[row] = length - 1;
    this.#longest[0] = Math.max(...lengths);
  }

  /** Logits of row `row`, (vocab). */
  scores(row: number): Float32Array {
    return this.logits.subarray(row * this.#vocabSize, (row + 1) * this.#vocabSize);
  }

  dispose(): void {
    for (const value of [...Object.values(this.inputs), ...Object.values(this.outputs)]) {
      value.dispose();
    }
  }

  [Symbol.dispose](): void {
    this.dispose();
  }
}
