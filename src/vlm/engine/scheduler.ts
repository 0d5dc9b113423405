// Who may use the engine now: requests in, turns out, first come first served, a bounded number waiting.
// It knows nothing of what is done in a turn.

import { DisposedError, QueueFullError } from "../errors.ts";

/** Ends a turn; calling it again does nothing. */
export type Release = () => void;

interface Waiter {
  readonly start: () => void;
  readonly fail: (reason: unknown) => void;
}

/** A queue with one place at the counter. */
export class Scheduler {
  readonly #maxQueue: number;
  readonly #waiting: Waiter[] = [];
  #busy = false;
  #closed = false;
  #onIdle: (() => void) | undefined;

  /** @param maxQueue most requests that may wait while one runs */
  constructor(maxQueue: number) {
    this.#maxQueue = maxQueue;
  }

  get waiting(): number {
    return this.#waiting.length;
  }

  /**
   * Waits for a turn.
   *
   * @throws {QueueFullError} when `maxQueue` requests wait already
   * @throws {DisposedError} once the scheduler is closed
   * @throws the signal's reason when it aborts while waiting
   */
  enter(signal: AbortSignal): Promise<Release> {
    return new Promise((resolve, reject) => {
      signal.throwIfAborted();
      if (this.#closed) throw new DisposedError("The model");
      if (!this.#busy) return resolve(this.#take());
      if (this.#waiting.length >= this.#maxQueue) {
        throw new QueueFullError(this.#waiting.length, this.#maxQueue);
      }
      const waiter: Waiter = {
        start: () => {
          signal.removeEventListener("abort", leave);
          resolve(this.#take());
        },
        fail: (reason) => {
          signal.removeEventListener("abort", leave);
          reject(reason);
        },
      };
      const leave = () => {
        this.#waiting.splice(this.#waiting.indexOf(waiter), 1);
        reject(signal.reason);
      };
      signal.addEventListener("abort", leave, { once: true });
      this.#waiting.push(waiter);
    });
  }

  /** Sends the waiting away and resolves when the running turn has ended. */
  async close(): Promise<void> {
    this.#closed = true;
    for (const waiter of this.#waiting.splice(0)) waiter.fail(new DisposedError("The model"));
    if (!this.#busy) return;
    await new Promise<void>((resolve) => {
      const earlier = this.#onIdle;
      this.#onIdle = () => {
        earlier?.();
        resolve();
      };
    });
  }

  #take(): Release {
    this.#busy = true;
    let released = false;
    return () => {
      if (released) return;
      released = true;
      this.#busy = false;
      const next = this.#waiting.shift();
      if (next) next.start();
      else this.#onIdle?.();
    };
  }
}
