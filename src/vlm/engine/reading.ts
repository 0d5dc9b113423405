// Prompts, a piece at a time: what was computed before is copied, and the next piece runs alone or together with the next
// tokens of those who write. In: a sequence whose pictures are encoded. Out: scores after its last token. Who reads next,
// and what becomes of whoever fails, is the loop's business.

import type { DecoderBackend, Scores } from "./decoder-backend.ts";
import type { Pace } from "./pace.ts";
import type { PrefixCache } from "./prefix-cache.ts";
import type { Sequence } from "./sequence.ts";
import type { StallBudget } from "./stall-budget.ts";
import type { Writing } from "./writing.ts";

export interface ReadingOptions {
  readonly decoder: DecoderBackend;
  readonly prefixes: PrefixCache;
  readonly pace: Pace;
  readonly stall: StallBudget;
  readonly writing: Writing;
}

/** Runs of prompts. */
export class Reading {
  readonly #options: ReadingOptions;

  constructor(options: ReadingOptions) {
    this.#options = options;
  }

  /** Can those who write get their next tokens in the run of a prompt? */
  joins(writers: readonly Sequence[]): boolean {
    return writers.length > 0 && this.#options.decoder.together !== undefined;
  }

  /** Copies computed tokens from the cache; the last one of a prompt is always computed, for its scores. */
  async reuse(sequence: Sequence): Promise<void> {
    const { content, slot, ids } = sequence;
    if (!slot) return;
    const before = slot.length;
    await this.#options.prefixes
      .restore(content, slot, ids.length - 1, sequence)
      // Forgotten while it was copied: what is in the slot is right, and the rest is computed.
      .catch(() => {});
    sequence.reusedTokens += slot.length - before;
  }

  /**
   * The next piece.
   *
   * @param writers how many wait for their next token meanwhile
   * @returns scores after the prompt; undefined when there is more of it, or nobody to read them
   * @throws what the run throws
   */
  async goOn(sequence: Sequence, writers: number): Promise<Scores | undefined> {
    const { decoder, pace, stall } = this.#options;
    // Somebody else may have computed the same meanwhile.
    await this.reuse(sequence);
    const chunk = sequence.chunk(stall.chunkTokens(writers, sequence.ahead));
    const ends = chunk.ids.length === sequence.remaining;
    const started = performance.now();
    const [scores] = await decoder.append(chunk, sequence.slot!, {
      scores: ends && sequence.reader ? "last" : "none",
      signal: sequence.signal,
    });
    pace.prompt(chunk.ids.length, performance.now() - started);
    return scores;
  }

  /**
   * The next piece, and a token for each of those who write.
   *
   * @returns scores after the piece
   * @throws what the run throws: it concerns any of them, and nothing has changed
   */
  async goOnBeside(sequence: Sequence, writers: readonly Sequence[]): Promise<Scores> {
    const { stall, writing } = this.#options;
    await this.reuse(sequence);
    const chunk = sequence.chunk(stall.joinedTokens(writers.length, sequence.remaining));
    return writing.goOnBeside(sequence, chunk, writers);
  }

  /** Keeps what is in its slot. */
  async remember(sequence: Sequence): Promise<void> {
    const { content, slot } = sequence;
    if (!slot) return;
    // A device may have no memory left to keep anything; the answer needs none of it.
    await this.#options.prefixes.remember(content, slot, sequence).catch(() => {});
  }
}
