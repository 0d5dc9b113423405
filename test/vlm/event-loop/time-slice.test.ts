// Time is what the computations of a test say it is: nothing here waits for a clock.

import { setImmediate as oneTurn } from "node:timers/promises";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { TimeSlice } from "../../../src/vlm/event-loop/time-slice.ts";

let now = 0;

beforeEach(async () => {
  // What is left of the turn in which the test before ended is not this one's: it ends with the next of them.
  await oneTurn();
  await oneTurn();
  vi.spyOn(performance, "now").mockImplementation(() => now);
});

afterEach(() => {
  vi.restoreAllMocks();
});

/** Computes for so many milliseconds, one after the other. */
async function compute(milliseconds: number, done: (ms: number) => void, slice = new TimeSlice()) {
  for (let ms = 0; ms < milliseconds; ms++) {
    if (slice.over) await slice.rest();
    now++;
    done(ms);
  }
}

describe("TimeSlice", () => {
  it("is shared: many computations hold the event loop no longer than two", async () => {
    let [inTurn, longest, over] = [0, 0, false];
    const note = () => {
      longest = Math.max(longest, ++inTurn);
    };
    const work = Promise.all(
      Array.from({ length: 12 }, async () => {
        await oneTurn(); // all of them in the same turn
        await compute(20, note);
      }),
    ).finally(() => {
      over = true;
    });
    while (!over) {
      inTurn = 0;
      await oneTurn();
    }
    await work;
    // What began, and what went on; 48 if each had its own.
    expect(longest).toBeLessThanOrEqual(3 * 4);
    expect(now).toBeGreaterThanOrEqual(240);
  });

  it("lets computations go on in the order in which they paused, so that a short one is soon done", async () => {
    const steps: string[] = [];
    await Promise.all(["a", "b", "c"].map((name) => compute(9, () => steps.push(name))));
    // The first began in a turn that was all its own, and went on in the next; then everybody has a slice in turn.
    const inOrder = ["aaaa", "aaaa", "bbbb", "cccc", "a", "bbbb", "cccc", "b", "c"];
    expect(steps.join("")).toBe(inOrder.join(""));
  });

  it("ends a pause with the reason of its signal, and those behind go on", async () => {
    const controller = new AbortController();
    const aborted = compute(50, () => {}, new TimeSlice(controller.signal));
    const other = compute(50, () => {});
    controller.abort(new Error("gone"));
    await expect(aborted).rejects.toThrow("gone");
    await other;
  });
});
