// How long a run takes at its best: whatever else the machine does only makes runs slower. In: something to run. Out:
// milliseconds. It repeats no more often than it has to.

import type { Noise } from "./noise.ts";

/** Something that is ready to run. */
export interface Measurable<Speed> {
  /** Nothing else should run meanwhile. @param noise what is computed with */
  measure(noise: Noise): Promise<Speed>;
  dispose(): Promise<void>;
}

/** Two runs as close to each other as this were not disturbed. */
const SAME = 1.04;
const [FEWEST_RUNS, MOST_RUNS] = [2, 12];
/** Short runs may be disturbed alike, so that they go on for a moment. */
const AT_LEAST_MS = 12;
/** No run begins later than that, but the second. */
const ENOUGH_MS = 150;

/**
 * Milliseconds of the fastest run, of as many as it takes until the two fastest are alike. One before them wakes threads
 * and touches memory.
 */
export async function fastestRun(run: () => Promise<void>): Promise<number> {
  await run();
  const times: number[] = [];
  const begin = performance.now();
  for (;;) {
    const start = performance.now();
    await run();
    const end = performance.now();
    times.push(end - start);
    times.sort((a, b) => a - b);
    const [best = 0, next = Number.POSITIVE_INFINITY] = times;
    const isSure = next <= best * SAME && end - begin >= AT_LEAST_MS;
    const isLate = times.length >= FEWEST_RUNS && end - begin >= ENOUGH_MS;
    if (isSure || isLate || times.length === MOST_RUNS) return best;
  }
}
