// Where the time of one request goes: laps in, milliseconds out.

import type { Timings } from "../vision-language-model.ts";

type Lap = Exclude<keyof Timings, "totalMs">;

/** Measures the stages of one request with the monotonic clock. */
export class Stopwatch {
  readonly #started = performance.now();
  readonly #laps: Record<Lap, number> = {
    queueMs: 0,
    imageMs: 0,
    visionMs: 0,
    prefillMs: 0,
    decodeMs: 0,
  };

  /** Runs the work and adds its duration, also when it fails, to one lap. */
  async time<T>(lap: Lap, work: () => Promise<T>): Promise<T> {
    const started = performance.now();
    try {
      return await work();
    } finally {
      this.#laps[lap] += performance.now() - started;
    }
  }

  read(): Timings {
    return { ...this.#laps, totalMs: performance.now() - this.#started };
  }
}
