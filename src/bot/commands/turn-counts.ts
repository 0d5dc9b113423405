// How many questions a bot has answered since it was started, and what became of the others. In: turns that end.
// Out: numbers, without anybody's name.

import type { TurnOutcome } from "../pipeline/running-turns.ts";

export interface CountedTurns {
  /** Milliseconds since the counting began. */
  readonly forMs: number;
  readonly answered: number;
  readonly failed: number;
  /** Recalled, stopped and the like. */
  readonly cancelled: number;
  readonly commands: number;
}

/** Counts. */
export class TurnCounts {
  readonly #now: () => number;
  readonly #startMs: number;
  #answered = 0;
  #failed = 0;
  #cancelled = 0;
  #commands = 0;

  /** @param now milliseconds of any clock that does not jump */
  constructor(now: () => number = () => performance.now()) {
    this.#now = now;
    this.#startMs = now();
  }

  ended(outcome: TurnOutcome): void {
    if (outcome === "answered") this.#answered++;
    else if (outcome === "failed" || outcome === "deadline") this.#failed++;
    else this.#cancelled++;
  }

  command(): void {
    this.#commands++;
  }

  get counted(): CountedTurns {
    return {
      forMs: this.#now() - this.#startMs,
      answered: this.#answered,
      failed: this.#failed,
      cancelled: this.#cancelled,
      commands: this.#commands,
    };
  }
}
