// Whether memory stays flat over a long run. In: one round of it, again and again. Out: by how much it grew in the round
// in which it grew least. A leak grows in every round; heaps that fill up, arenas of threads and compiled code do not.

import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";

export interface FlatMemoryOptions {
  /** Rounds that are measured, behind one that is not. @default 4 */
  readonly rounds?: number;
  /** Of the process, or of JavaScript's heap. @default "rss" */
  readonly of?: "rss" | "heapUsed";
}

/** Bytes; below 0 where it shrank. */
export async function leastGrowth(
  round: () => unknown,
  { rounds = 4, of = "rss" }: FlatMemoryOptions = {},
): Promise<number> {
  const growths: number[] = [];
  let before: number | undefined;
  for (let index = 0; index <= rounds; index++) {
    await round();
    const after = await memoryInUse(of);
    if (before !== undefined) growths.push(after - before);
    before = after;
  }
  return Math.min(...growths);
}

/** Without what only waits for the garbage collector. */
async function memoryInUse(of: "rss" | "heapUsed"): Promise<number> {
  setFlagsFromString("--expose-gc");
  const collect: () => void = runInNewContext("gc");
  for (let time = 0; time < 3; time++) {
    collect();
    await new Promise((resolve) => setImmediate(resolve));
  }
  return process.memoryUsage()[of];
}
