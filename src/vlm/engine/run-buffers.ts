// The inputs and outputs of one decoder run of a given number of tokens, except for keys and values: arrays to fill
// in, and the values that are bound to them. It knows the names of the decoder's graph and nothing of its meaning.

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
  readonly tokens: number;
  /** Does the run hold tokens of pictures? */
  readonly deepstack: boolean;
  /** Where the logits go: of every token, (tokens, vocab), or of the last one, (1, vocab). */
  readonly logits: Float32Array;
}

/** Arrays of one run, bound. Dispose them when they will not run again. */
export class RunBuffers {
  /** (tokens, hidden) */
  readonly embeds: Float32Array;
  /** (taps, tokens, hidden), zeros; (taps, 1, 1, hidden) when the run has no picture. */
  readonly deepstack: Float32Array;
  /** (tokens, headSize / 2) */
  readonly cos: Float32Array;
  readonly sin: Float32Array;
  /** (rows, vocab) */
  readonly logits: Float32Array;
  readonly inputs: NamedValues;
  readonly outputs: NamedValues;
  readonly #lastIndex = new Int32Array(1); // (1)
  readonly #totalLength = new Int32Array(1); // scalar

  constructor(sizes: DecoderSizes, { tokens, deepstack, logits }: RunShape) {
    const { hiddenSize, headSize, vocabSize, deepstackTaps } = sizes;
    const half = headSize / 2;
    const rows = logits.length / vocabSize;
    const deepstackTokens = deepstack ? tokens : 1;
    this.embeds = new Float32Array(tokens * hiddenSize);
    this.deepstack = new Float32Array(deepstackTaps * deepstackTokens * hiddenSize);
    this.cos = new Float32Array(tokens * half);
    this.sin = new Float32Array(tokens * half);
    this.logits = logits;
    const logitRows = BigInt64Array.from({ length: rows }, (_, row) => BigInt(tokens - rows + row));
    this.inputs = {
      inputs_embeds: Value.of(this.embeds, [1, tokens, hiddenSize]),
      deepstack_embeds: Value.of(this.deepstack, [deepstackTaps, 1, deepstackTokens, hiddenSize]),
      rotary_cos: Value.of(this.cos, [1, tokens, half]),
      rotary_sin: Value.of(this.sin, [1, tokens, half]),
      seqlens_k: Value.of(this.#lastIndex, [1]),
      total_sequence_length: Value.of(this.#totalLength, []),
      logit_rows: Value.of(logitRows, [rows]),
    };
    this.outputs = { logits: Value.of(logits, [rows, vocabSize]) };
  }

  /** Says how many tokens the cache holds after the run. */
  setTotalLength(tokens: number): void {
    this.#lastIndex[0] = tokens - 1;
    this.#totalLength[0] = tokens;
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
