import { afterEach, beforeEach, expect, it, vi } from "vitest";
import { fastestRun } from "../../../src/vlm/machine/fastest-run.ts";

beforeEach(() => void vi.useFakeTimers({ toFake: ["performance"] }));
afterEach(() => void vi.useRealTimers());

/** Runs that take these milliseconds one after the other, the last of them again and again. */
function runs(...times: number[]) {
  return vi.fn(async () => {
    vi.advanceTimersByTime((times.length > 1 ? times.shift() : times[0]) ?? 0);
  });
}

it("does not count the first run, and ends when two are alike", async () => {
  const run = runs(100, 10, 10.1);
  expect(await fastestRun(run)).toBeCloseTo(10);
  expect(run).toHaveBeenCalledTimes(3);
});

it("goes on while runs differ, for some of them or for a while", async () => {
  const few = runs(1, ...Array.from({ length: 20 }, (_, index) => 5 * 0.9 ** index));
  expect(await fastestRun(few)).toBeCloseTo(5 * 0.9 ** 11);
  expect(few).toHaveBeenCalledTimes(13);
  const short = runs(2, 3, 3, 3, 3, 1);
  expect(await fastestRun(short)).toBeCloseTo(3);
  expect(short).toHaveBeenCalledTimes(5);
  const slow = runs(90, 100, 90, 80);
  expect(await fastestRun(slow)).toBeCloseTo(90);
  expect(slow).toHaveBeenCalledTimes(3);
});

it("fails with the run", async () => {
  await expect(fastestRun(() => Promise.reject(new Error("no memory")))).rejects.toThrow(
    "no memory",
  );
});
