// Where long work is done without holding the event loop: one slice of a few milliseconds in each turn of the loop, shared
// by all who have work, however many they are. In: work in steps. Out: its result. It does not know what it works on.

import { setImmediate } from "node:timers/promises";
import type { Steps } from "./steps.ts";

/** Of all work together, in one turn of the event loop. */
const SLICE_MS = 2;

export interface LaneOptions {
  /** Somebody's next token waits for it: it goes before everything else. @default false */
  readonly urgent?: boolean;
  /** Nobody waits for it any more: it stops at its next pause. */
  readonly signal?: AbortSignal | undefined;
}

/** Takes a step; false: it is over. */
type Job = () => boolean;

/** One after the other in small steps, so that short work is not behind long work. */
export class StepLane {
  readonly #urgent: Job[] = [];
  readonly #others: Job[] = [];
  #running = false;

  /** @throws what the work throws, or the signal's reason */
  run<T>(steps: Steps<T>, options: LaneOptions = {}): Promise<T> {
    const { urgent = false, signal } = options;
    return new Promise((resolve, reject) => {
      const job: Job = () => {
        try {
          signal?.throwIfAborted();
          const step = steps.next();
          if (step.done) resolve(step.value);
          return !step.done;
        } catch (error) {
          reject(error);
          // What it had borrowed is given back.
          steps.return(undefined as T);
          return false;
        }
      };
      (urgent ? this.#urgent : this.#others).push(job);
      if (!this.#running) void this.#work();
    });
  }

  async #work(): Promise<void> {
    this.#running = true;
    while (this.#next) {
      await setImmediate();
      const end = performance.now() + SLICE_MS;
      for (let line = this.#next; line && performance.now() < end; line = this.#next) {
        const job = line.shift()!;
        if (job()) line.push(job);
        // Whoever waits for a token hears of it before others' work goes on.
        else if (line === this.#urgent && line.length === 0) break;
      }
    }
    this.#running = false;
  }

  /** The line whose turn it is. */
  get #next(): Job[] | undefined {
    return [this.#urgent, this.#others].find(({ length }) => length > 0);
  }
}
