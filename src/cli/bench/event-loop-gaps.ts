// How long the event loop was held up: a timer of one millisecond, and the longest time it did not come, as a whole and
// without what its thread waited for a core. It knows nothing of what runs meanwhile.

import { closeSync, openSync, readSync } from "node:fs";

export interface Gaps {
  readonly longestMs: number;
  /** Longest time in which its thread computed; undefined where the system does not tell (other than Linux). */
  readonly longestOwnMs: number | undefined;
  /** Gaps of more than 20 ms. */
  readonly over20Ms: number;
}

const LONG_MS = 20;

/** Runs `work` and watches the loop. Samples of memory are taken on the way, by the same timer. */
export async function watchEventLoop<T>(
  work: () => Promise<T>,
): Promise<{ result: T; gaps: Gaps; peakRss: number }> {
  using waits = new CoreWaits();
  let last = performance.now();
  let lastWaitedMs = waits.read();
  let longestMs = 0;
  let longestOwnMs = 0;
  let over20Ms = 0;
  let peakRss = process.memoryUsage.rss();
  let lastSample = last;
  const note = () => {
    const now = performance.now();
    const gap = now - last - 1;
    if (gap > longestMs) longestMs = gap;
    if (gap > LONG_MS) over20Ms++;
    const waitedMs = waits.read();
    if (waitedMs !== undefined && lastWaitedMs !== undefined) {
      longestOwnMs = Math.max(longestOwnMs, gap - (waitedMs - lastWaitedMs));
    }
    lastWaitedMs = waitedMs;
    last = performance.now();
    if (now - lastSample > 100) {
      peakRss = Math.max(peakRss, process.memoryUsage.rss());
      lastSample = now;
      last = performance.now();
    }
  };
  const timer = setInterval(note, 1);
  try {
    const result = await work();
    note();
    peakRss = Math.max(peakRss, process.memoryUsage.rss());
    const own = lastWaitedMs === undefined ? undefined : longestOwnMs;
    return { result, gaps: { longestMs, longestOwnMs: own, over20Ms }, peakRss };
  } finally {
    clearInterval(timer);
  }
}

/** Milliseconds that this thread was ready to run and had no core, since it began. */
class CoreWaits {
  readonly #file: number | undefined;
  readonly #bytes = Buffer.alloc(128);

  constructor() {
    try {
      this.#file = openSync("/proc/thread-self/schedstat", "r");
    } catch {
      this.#file = undefined;
    }
  }

  read(): number | undefined {
    if (this.#file === undefined) return undefined;
    const length = readSync(this.#file, this.#bytes, 0, this.#bytes.length, 0);
    const nanoseconds = Number(this.#bytes.toString("latin1", 0, length).split(" ")[1]);
    return Number.isFinite(nanoseconds) ? nanoseconds / 1e6 : undefined;
  }

  [Symbol.dispose](): void {
    if (this.#file !== undefined) closeSync(this.#file);
  }
}
