// How much of a prompt may be read before those who write have to go on. In: how fast the machine is, and when they last
// got a token. Out: tokens. Who reads and who writes is the loop's business.

import type { Pace } from "./pace.ts";

export interface StallBudgetOptions {
  readonly pace: Pace;
  /** Longest time for which nobody's text stands still because of somebody else's prompt. */
  readonly maxStallMs: number;
  /** Most tokens of a prompt in one run. */
  readonly maxChunkTokens: number;
}

/** Part of a pause beside a picture that stays unplanned. */
const SPARE = 0.05;

/** Time for prompts between two tokens of those who write. */
export class StallBudget {
  readonly #options: StallBudgetOptions;
  #lastText = 0;

  constructor(options: StallBudgetOptions) {
    this.#options = options;
  }

  /** Everybody who writes has just got a token. */
  gotText(): void {
    this.#lastText = performance.now();
  }

  /** Milliseconds since then. */
  get sinceText(): number {
    return performance.now() - this.#lastText;
  }

  /** Milliseconds for which those who write can leave the cores to a picture. */
  pauseMs(writers: number): number {
    const { pace, maxStallMs } = this.#options;
    return (1 - SPARE) * maxStallMs - this.sinceText - pace.stepBesideMs(writers);
  }

  /** Tokens of the next piece of a prompt: large ones when nobody is kept waiting by them. */
  chunkTokens(writers: number, ahead: boolean): number {
    const { pace, maxChunkTokens, maxStallMs } = this.#options;
    if (writers === 0 && !ahead) return maxChunkTokens;
    const left = writers === 0 ? maxStallMs : this.#leftMs(writers);
    // Where a step alone takes longer than that, prompts get half as much time: with none they would never be read.
    const stepMs = pace.stepMs(writers);
    return pace.chunkTokens(stepMs > maxStallMs ? stepMs / 2 : left, maxChunkTokens);
  }

  /** The same of a piece in whose run those who write get their next tokens, when so much of its prompt is left. */
  joinedTokens(writers: number, remaining: number): number {
    const { pace, maxChunkTokens, maxStallMs } = this.#options;
    const stepMs = pace.stepMs(writers);
    const left = maxStallMs - this.sinceText - pace.joinedMs(writers);
    return pace.evenChunk(stepMs > maxStallMs ? stepMs / 2 : left, maxChunkTokens, remaining);
  }

  /**
   * Is there time for more of a prompt before the next step? Those who write have something to read meanwhile, and who
   * waits for a first word has nothing. Small pieces are not worth a run, but the rest of a prompt is.
   */
  hasRoomFor(remaining: number, writers: number): boolean {
    const { pace, maxChunkTokens, maxStallMs } = this.#options;
    const whole = pace.chunkTokens(maxStallMs - pace.stepMs(writers), maxChunkTokens);
    return pace.tokensWithin(this.#leftMs(writers)) >= Math.min(remaining, whole / 2);
  }

  #leftMs(writers: number): number {
    const { pace, maxStallMs } = this.#options;
    return maxStallMs - this.sinceText - pace.stepMs(writers);
  }
}
