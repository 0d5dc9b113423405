// Long loops on the main thread, cut into slices so that the event loop never waits long, however many run at once.
// In: a loop that asks after every few rows. Out: a pause when the slice is used up. It knows nothing of what they compute.

import { endOfTurn, laterTurn } from "./loop-turn.ts";

/**
 * The time one computation may use before it lets the event loop breathe. Those that begin together share it.
 *
 * @example
 * for (let row = 0; row < height; row++) {
 *   if (slice.over) await slice.rest();
 *   // … one row
 * }
 */
export class TimeSlice {
  readonly #signal: AbortSignal | undefined;
  #end = endOfTurn();

  constructor(signal?: AbortSignal) {
    this.#signal = signal;
  }

  get over(): boolean {
    return performance.now() >= this.#end;
  }

  /** @throws the signal's reason if it was aborted. */
  throwIfAborted(): void {
    this.#signal?.throwIfAborted();
  }

  /**
   * Lets everything that waits have its turn, other computations included, then starts a new slice.
   *
   * @throws the signal's reason if it was aborted meanwhile.
   */
  async rest(): Promise<void> {
    await laterTurn();
    this.#signal?.throwIfAborted();
    this.#end = endOfTurn();
  }
}
