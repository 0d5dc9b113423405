// The speed part of a proof, whole, with the smallest model of noise on the CPU: it ends, and says what it has to say.

import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { Checks } from "../../../src/cli/prove/check.ts";
import { writeRandomPackage } from "../../../src/cli/prove/random-package.ts";
import { LIGHT_WORK, measureSpeed } from "../../../src/cli/prove/speed.ts";
import {
  describe as describeSpeed,
  proveSpeed,
  type SpeedReport,
  softwareBudgetMs,
} from "../../../src/cli/prove/speed-checks.ts";
import { TimeBudget } from "../../../src/cli/prove/time-budget.ts";
import { tempDir } from "../../support/temp-dir.ts";

describe("the speed part of a proof", () => {
  it("measures a model of the size that was named", async () => {
    const [checks, speed]: [Checks, SpeedReport[]] = [new Checks(), []];
    await proveSpeed({
      checks,
      device: "cpu",
      directory: join(await tempDir(), "speed"),
      size: "nano",
      rooflines: undefined,
      questionMs: 0,
      elapsedMs: 0,
      speed,
      signal: new AbortController().signal,
    });
    expect(checks.list).toEqual([
      {
        name: "speed of a nano in w8a8",
        ok: true,
        value: expect.stringMatching(
          /^decode 1 chats .* tok\/s.*; 4 chats .*; prefill 2048 .*; picture of 512 tokens .*; event loop .*; load /,
        ),
      },
    ]);
    const [report] = speed;
    expect(report).toMatchObject({ shape: "nano", decodeShare: undefined });
    expect(report!.measured.decode.map(({ chats }) => chats)).toEqual([1, 4]);
    // One of each step, the warm ones too; of the same weights always the same.
    expect(report!.measured.tokens).toHaveLength(16);
  }, 240_000);

  it("names what it had no time for", async () => {
    const directory = await tempDir();
    await writeRandomPackage(directory, "nano", { decoder: "q4", vision: "fp32" }, "cpu");
    const measured = await measureSpeed({
      directory,
      device: "cpu",
      captureGraphs: false,
      stepKernels: false,
      batches: [1, 4],
      steps: 2,
      rounds: 1,
      work: LIGHT_WORK,
      budgetMs: 0,
    });
    expect(measured).toMatchObject({
      decode: [],
      leftOut: ["picture", "prefill", "first token", "decode of 1 chats", "decode of 4 chats"],
      firstRuns: [],
      prefillMs: undefined,
    });
    const report = { decodeShare: undefined, prefillShare: undefined, batchGain: undefined };
    expect(describeSpeed(measured, report)).toMatch(
      /^event loop .*; load .*; left out, for want of time: picture, prefill, first token, decode of 1 chats, decode of 4 chats$/,
    );
    const some = { ...measured, prefillMs: 5000, firstRuns: ["prefill"], leftOut: ["picture"] };
    expect(describeSpeed(some, report)).toMatch(
      /^prefill 62 5000\.0 ms; event loop .*; a first run only, shaders and all: prefill; left out, for want of time: picture$/,
    );
  }, 240_000);
});

describe("a budget of time", () => {
  it("of a software driver is what is left of eight minutes, within bounds", () => {
    expect([0, 350_000, 600_000].map(softwareBudgetMs)).toEqual([150_000, 90_000, 45_000]);
  });

  it("lets begin what is expected to end in it", async () => {
    let now = 1000;
    const budget = new TimeBudget(100, () => now);
    expect(await budget.fit("one", 0, async () => "done")).toBe("done");
    now = 1060;
    expect([budget.has(39), budget.has(40)]).toEqual([true, false]);
    expect(await budget.fit("two", 50, async () => "done")).toBeUndefined();
    expect(await budget.fit("three", 30, async () => "done")).toBe("done");
    now = 1100;
    expect(budget.spent).toBe(true);
    expect(budget.leftOut).toEqual(["two"]);
  });

  it("is infinite where nobody says how much", () => {
    expect(new TimeBudget().has(1e12)).toBe(true);
  });
});
