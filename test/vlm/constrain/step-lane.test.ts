// Long work in steps: who goes first, how much is done in one turn of the event loop, and how it is given up. The clock is
// a fake: every look at it costs a millisecond, so that a slice has the same steps on every machine.

import { setImmediate } from "node:timers/promises";
import { afterEach, describe, expect, it, vi } from "vitest";
import { StepLane } from "../../../src/vlm/constrain/step-lane.ts";
import { finish, limited, type Steps, WorkCount } from "../../../src/vlm/constrain/steps.ts";
import { TooComplexError } from "../../../src/vlm/constrain/too-complex.ts";

afterEach(() => vi.restoreAllMocks());

function slowClock(): void {
  let now = 0;
  vi.spyOn(performance, "now").mockImplementation(() => now++);
}

/** Notes every step; says when it was given up. */
function* counted(name: string, steps: number, log: string[]): Steps<string> {
  try {
    for (let step = 0; step < steps; step++) {
      log.push(name);
      yield;
    }
    return name;
  } finally {
    log.push(`${name} over`);
  }
}

describe("a lane for work in steps", () => {
  it("does little in one turn of the event loop, whoever has work", async () => {
    slowClock();
    const lane = new StepLane();
    const log: string[] = [];
    const names = ["a", "b", "c", "d", "e", "f", "g", "h"];
    const all = Promise.all(names.map((name) => lane.run(counted(name, 20, log))));
    const perTurn: number[] = [];
    let done = false;
    void all.then(() => {
      done = true;
    });
    for (let before = 0; !done; before = log.length) {
      await setImmediate();
      perTurn.push(log.length - before);
    }
    expect(await all).toEqual(names);
    expect(Math.max(...perTurn)).toBeLessThanOrEqual(6);
    // Each in its turn: nobody waits for another to be through.
    expect(log.slice(0, 16)).toEqual([...names, ...names]);
  });

  it("tells whoever waits for what is urgent before it goes on with the rest", async () => {
    const lane = new StepLane();
    const log: string[] = [];
    const long = lane.run(counted("long", 50, log));
    await lane.run(counted("urgent", 2, log), { urgent: true });
    log.push("told");
    expect(log).toEqual(["urgent", "urgent", "urgent over", "told"]);
    expect(await long).toBe("long");
  });

  it("lets what is urgent go first", async () => {
    slowClock();
    const lane = new StepLane();
    const log: string[] = [];
    const long = lane.run(counted("long", 50, log));
    await setImmediate();
    await lane.run(counted("urgent", 3, log), { urgent: true });
    expect(log.filter((entry) => entry === "long").length).toBeLessThan(20);
    expect(await long).toBe("long");
  });

  it("stops what nobody waits for, and goes on with the rest", async () => {
    slowClock();
    const lane = new StepLane();
    const log: string[] = [];
    const leaving = new AbortController();
    const left = lane.run(counted("left", 1000, log), { signal: leaving.signal });
    const stays = lane.run(counted("stays", 10, log));
    await setImmediate();
    leaving.abort(new Error("gone"));
    await expect(left).rejects.toThrow("gone");
    expect(log.at(-1)).toBe("left over");
    expect(await stays).toBe("stays");
    expect(log.filter((entry) => entry === "left").length).toBeLessThan(20);
  });

  it("hands on what goes wrong", async () => {
    const lane = new StepLane();
    const failing = lane.run(
      (function* (): Steps<never> {
        yield;
        throw new RangeError("wrong");
      })(),
    );
    await expect(failing).rejects.toThrow("wrong");
    expect(await lane.run(counted("next", 2, []))).toBe("next");
  });
});

describe("work in steps", () => {
  it("is given up after so many of them, and closed", () => {
    const log: string[] = [];
    expect(() => finish(limited(counted("long", 100, log), 5, "too long"))).toThrow(
      TooComplexError,
    );
    expect(log).toHaveLength(7);
    expect(log.at(-1)).toBe("long over");
    expect(finish(limited(counted("short", 5, []), 5, "too long"))).toBe("short");
  });

  it("pauses by what was done", () => {
    const work = new WorkCount();
    const pauses = Array.from({ length: 10_000 }, () => work.adds(10)).filter(Boolean);
    expect(pauses).toHaveLength(24);
    expect(work.adds(1e9)).toBe(true);
  });
});
