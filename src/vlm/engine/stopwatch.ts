// Where the time of one request goes: laps in, milliseconds out.

import type { Timings } from "../vision-language-model.ts";

export type Lap = Exclude<keyof Timings, "totalMs">;

/** Measures the stages of one request with the monotonic clock. They follow one another and may come again. */
export class Stopwatch {
  readonly #started = performance.now();
  readonly #laps: Record<Lap, number> = {
    queueMs: 0,
    imageMs: 0,
    visionMs: 0,
    prefillMs: 0,
    decodeMs: 0,
  };
  #lap: Lap | undefined;
  #lapStarted = this.#started;

  /** Ends the stage that runs and begins another. */
  begin(lap: Lap | undefined): void {
    const now = performance.now();
    if (this.#lap) this.#laps[this.#lap] += now - this.#lapStarted;
    this.#lap = lap;
    this.#lapStarted = now;
  }

  get elapsedMs(): number {
    return performance.now() - this.#started;
  }

  /** Ends the stage that runs. */
  read(): Timings {
    this.begin(undefined);
    return { ...this.#laps, totalMs: this.elapsedMs };
  }
}
