// How many of something may happen: so many at once, and as many again in every minute.
// In: the time. Out: whether there is one left. It knows nothing of what is counted.

const MINUTE_MS = 60_000;

/** A bucket that is full at first and is filled evenly. */
export class TokenBucket {
  readonly perMinute: number;
  #tokens: number;
  #filledAtMs: number;

  /** @param nowMs milliseconds of a clock that does not jump */
  constructor(perMinute: number, nowMs: number) {
    this.perMinute = perMinute;
    this.#tokens = perMinute;
    this.#filledAtMs = nowMs;
  }

  /** Is there one left now? */
  has(nowMs: number): boolean {
    const sinceMs = Math.max(0, nowMs - this.#filledAtMs);
    this.#tokens = Math.min(this.perMinute, this.#tokens + (sinceMs / MINUTE_MS) * this.perMinute);
    this.#filledAtMs = nowMs;
    // Filling in many small steps must not end a hair below a whole one.
    return this.#tokens >= 1 - 1e-9;
  }

  /** Takes one. */
  take(): void {
    this.#tokens -= 1;
  }
}
