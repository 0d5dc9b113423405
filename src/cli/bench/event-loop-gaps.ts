// How long the event loop was held up: a timer of one millisecond, and the longest time it did not come.
// It knows nothing of what runs meanwhile.

export interface Gaps {
  readonly longestMs: number;
  /** Gaps of more than 20 ms. */
  readonly over20Ms: number;
}

const LONG_MS = 20;

/** Runs `work` and watches the loop. Samples of memory are taken on the way, by the same timer. */
export async function watchEventLoop<T>(
  work: () => Promise<T>,
): Promise<{ result: T; gaps: Gaps; peakRss: number }> {
  let last = performance.now();
  let longestMs = 0;
  let over20Ms = 0;
  let peakRss = process.memoryUsage.rss();
  let lastSample = last;
  const note = () => {
    const now = performance.now();
    const gap = now - last - 1;
    if (gap > longestMs) longestMs = gap;
    if (gap > LONG_MS) over20Ms++;
    last = now;
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
    return { result, gaps: { longestMs, over20Ms }, peakRss };
  } finally {
    clearInterval(timer);
  }
}
