// Long pixel loops on the main thread, cut into slices so that the event loop never waits long.
// In: a loop that asks after every few rows. Out: a pause when the slice is used up. It knows nothing of pictures.

import { setImmediate } from "node:timers/promises";

/** Two pictures may be in work at once and both run between two polls, so a pause of others is twice this. */
const SLICE_MS = 4;

/**
 * The time one computation may use before it lets the event loop breathe.
 *
 * @example
 * for (let row = 0; row < height; row++) {
 *   if (slice.over) await slice.rest();
 *   // … one row
 * }
 */
export class TimeSlice {
  readonly #signal: AbortSignal | undefined;
  #end = performance.now() + SLICE_MS;

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
   * Lets everything that waits have its turn, then starts a new slice.
   *
   * @throws the signal's reason if it was aborted meanwhile.
   */
  async rest(): Promise<void> {
    await setImmediate();
    this.#signal?.throwIfAborted();
    this.#end = performance.now() + SLICE_MS;
  }
}
