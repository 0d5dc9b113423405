// The speed part of a proof, whole, with the smallest model of noise on the CPU: it ends, and says what it has to say.

import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { Checks } from "../../../src/cli/prove/check.ts";
import { writeRandomPackage } from "../../../src/cli/prove/random-package.ts";
import { LIGHT_WORK, measureSpeed, type Speed } from "../../../src/cli/prove/speed.ts";
import { aimsOf, describeAim } from "../../../src/cli/prove/speed-aims.ts";
import { batchesThatFit, speedCases } from "../../../src/cli/prove/speed-cases.ts";
import {
  judge,
  proveSpeed,
  type SpeedReport,
  softwareBudgetMs,
} from "../../../src/cli/prove/speed-checks.ts";
import { describeSpeed, perSecond } from "../../../src/cli/prove/speed-line.ts";
import { TimeBudget } from "../../../src/cli/prove/time-budget.ts";
import { tempDir } from "../../support/temp-dir.ts";

describe("the speed part of a proof", () => {
  it("measures a model of the size that was named", async () => {
    const [checks, speed]: [Checks, SpeedReport[]] = [new Checks(), []];
    await proveSpeed({
      checks,
      device: "cpu",
      directory: await tempDir(),
      size: "nano",
      card: undefined,
      rooflines: { memoryGBs: 10, matrixTFLOPs: 0.2 },
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
          /^decode of one chat .* tok\/s \([\d.]+ % of the memory's speed\); decode of 8 chats [\d.]+ ms = \d+ tok\/s; decode of 32 chats [\d.]+ ms = \d+ tok\/s; [\d.]+ times the tokens of one; prefill 2048 [\d.]+ ms \([\d.]+ % of the matrix peak\); picture of 512 tokens .*; event loop .*; load [\d.]+ s; \d+ MiB of the process$/,
        ),
      },
    ]);
    const [report] = speed;
    expect(report).toMatchObject({ shape: "nano", steps: "operators", aims: [] });
    expect(report!.measured.decode.map(({ chats }) => chats)).toEqual([1, 8, 32]);
    // Nothing goes over a bus, and nobody counts it.
    expect(report!.measured.decode[0]!.bytesDown).toBeUndefined();
    // One of each step, the warm ones too; of the same weights always the same.
    expect(report!.measured.tokens).toHaveLength(16);
  }, 240_000);

  it("leaves out what there is no room for, and fails where that is all, or was named", async () => {
    const directory = await tempDir();
    const measure = async (size: "8b" | undefined, memory: number) => {
      const [checks, speed]: [Checks, SpeedReport[]] = [new Checks(), []];
      const { signal } = new AbortController();
      await proveSpeed({
        ...{ checks, device: "cpu", directory, size, card: undefined, rooflines: undefined },
        ...{ questionMs: 0, elapsedMs: 0, speed, signal },
        findRoom: async () => ({ disk: 1e12, memory }),
      });
      return checks;
    };
    const named = await measure("8b", 1e9);
    expect(named.list).toEqual([
      {
        name: "speed of a 8b in w8a8",
        ok: false,
        value: expect.stringMatching(/GB of memory are needed, 1\.0 are free$/),
      },
    ]);
    const none = await measure(undefined, 1e8);
    expect(none.leftOut.map(({ name }) => name)).toEqual(
      ["2b", "4b", "8b", "mini"].map((shape) => `speed of a ${shape} in w8a8`),
    );
    expect(none.list).toEqual([
      { name: "its speed can be measured", ok: false, value: expect.stringMatching(/no room/) },
    ]);
  });

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
      capacity: 128,
      budgetMs: 0,
    });
    expect(measured).toMatchObject({
      decode: [],
      leftOut: ["picture", "prefill", "first token", "decode of one chat", "decode of 4 chats"],
      firstRuns: [],
      prefillMs: undefined,
    });
    const report = { decodeShare: undefined, prefillShare: undefined, batchGain: undefined };
    expect(describeSpeed(measured, report)).toMatch(
      /^load [\d.]+ s; \d+ MiB of the process; left out, for want of time: picture, prefill, first token, decode of one chat, decode of 4 chats$/,
    );
    const some = { ...measured, prefillMs: 5000, firstRuns: ["prefill"], leftOut: ["picture"] };
    expect(
      describeSpeed({ ...some, memory: undefined, noRoom: ["decode of 32 chats"] }, report),
    ).toMatch(
      /^prefill 62 5000\.0 ms; load [\d.]+ s; a first run only, shaders and all: prefill; left out, for want of time: picture; left out, for want of memory: decode of 32 chats$/,
    );
    // Of which nothing was measured, nothing is proven.
    const nothing = { ...report, shape: "nano", steps: "operators", aims: [], measured } as const;
    const precision = { decoder: "q4", vision: "fp32" } as const;
    expect(judge({ ...nothing, precision }, []).ok).toBe(false);
  }, 240_000);

  it("ends when it is stopped, loading and measuring", async () => {
    const directory = await tempDir();
    const controller = new AbortController();
    const precision = { decoder: "q4", vision: "fp32" } as const;
    const reason = new Error("stopped");
    controller.abort(reason);
    const { signal } = controller;
    await expect(
      writeRandomPackage(join(directory, "none"), "nano", precision, "cpu", signal),
    ).rejects.toBe(reason);
    await writeRandomPackage(directory, "nano", precision, "cpu");
    const work = { work: LIGHT_WORK, batches: [1], steps: 2, rounds: 1, capacity: 128 };
    const plain = { device: "cpu", captureGraphs: false, stepKernels: false } as const;
    await expect(measureSpeed({ directory, ...plain, ...work, signal })).rejects.toBe(reason);
  }, 240_000);

  it("prints what is slow as what it is, and bytes where somebody counted them", () => {
    expect([0.3037, 8.34, 9.96, 33.4, 4707].map(perSecond)).toEqual([
      "0.30",
      "8.3",
      "10",
      "33",
      "4707",
    ]);
    const step = { chats: 1, stepMs: 3293.3, tokensPerSecond: 0.3037 };
    const shares = { decodeShare: 0.004, prefillShare: undefined, batchGain: undefined };
    expect(
      describeSpeed({ ...FIGURES, decode: [{ ...step, bytesDown: 1063, bytesUp: 779 }] }, shares),
    ).toContain(
      "decode of one chat 3293.30 ms = 0.30 tok/s (0.40 % of the memory's speed), 1063 B to the card, 779 B back;",
    );
    const uncounted = { ...step, bytesDown: undefined, bytesUp: undefined };
    expect(describeSpeed({ ...FIGURES, decode: [uncounted] }, shares)).not.toMatch(/ B |\?/);
  });

  it("finds that recorded steps say something else than the others", () => {
    const others: SpeedReport = {
      shape: "2b",
      precision: { decoder: "q4f16", vision: "bf16" },
      steps: "operators",
      measured: FIGURES,
      aims: [],
      ...{ decodeShare: undefined, prefillShare: undefined, batchGain: undefined },
    };
    const same: SpeedReport = { ...others, steps: "recorded" };
    const other = { ...same, measured: { ...FIGURES, tokens: [1, 2, 4] } };
    expect([judge(same, [others, same]).ok, judge(other, [others, other]).ok]).toEqual([
      true,
      false,
    ]);
    expect(judge(same, [same]).ok).toBe(false);
  });
});

const FIGURES: Speed = {
  pictureTokens: 512,
  promptTokens: 2048,
  visionMs: 13.5,
  prefillMs: 18,
  firstTokenMs: 21.7,
  decode: [
    { chats: 1, stepMs: 2.63, tokensPerSecond: 380, bytesDown: 1319, bytesUp: 779 },
    { chats: 32, stepMs: 6.19, tokensPerSecond: 5171, bytesDown: 2532, bytesUp: 24917 },
  ],
  gapMs: 3.8,
  tokens: [1, 2, 3],
  loadMs: 600,
  memory: { mebibytes: 19049, of: "of the card" },
  leftOut: [],
  noRoom: [],
  firstRuns: [],
};

describe("the models that are measured", () => {
  const shapes = (...of: Parameters<typeof speedCases>) =>
    speedCases(...of).map(
      ({ shape, precision, steps }) => `${shape} ${precision.decoder} ${steps}`,
    );

  it("are those of the device, or of the size that was named", () => {
    expect(shapes("cpu", undefined, false)).toEqual(
      ["2b", "4b", "8b"].map((shape) => `${shape} w8a8 operators`),
    );
    expect(new Set(speedCases("cuda:0", undefined, false).map(({ shape }) => shape))).toEqual(
      new Set(["2b", "4b", "8b"]),
    );
    expect(shapes("cuda:0", "4b", false)).toContain("4b q4f16 kernels");
    expect(shapes("webgpu", undefined, true)).toHaveLength(1);
    expect(shapes("webgpu", undefined, true)[0]).toMatch(/^nano /);
    expect(shapes("webgpu", "mini", true)[0]).toMatch(/^mini /);
  });

  it("answer as many chats as there is room for, and are left out where there is none for one", () => {
    const [item] = speedCases("cuda:0", undefined, false);
    const room = (gigabytes: number, disk = 100) =>
      batchesThatFit(item!, "cuda", { disk: disk * 1e9, memory: gigabytes * 1e9 }, 4096);
    expect([room(80), room(8), room(4)]).toEqual([[1, 8, 32], [1, 8], [1]]);
    expect(room(1)).toMatch(/\d\.\d GB of memory are needed, 1\.0 are free$/);
    expect(room(80, 1)).toMatch(/GB of disk are needed, 1\.0 are free$/);
    const [large] = speedCases("cpu", "8b", false);
    expect(batchesThatFit(large!, "cpu", { disk: 1e12, memory: 8e9 }, 2304)).toMatch(/of memory/);
    expect(batchesThatFit(large!, "cpu", { disk: 1e12, memory: 24e9 }, 2304)).toEqual([1, 8]);
  });
});

describe("what a card is to reach", () => {
  const of = { shape: "2b", decoder: "q4f16", steps: "operators", card: "NVIDIA H100" } as const;
  const shares = { decodeShare: 0.14, prefillShare: 0.38, batchGain: 13.6 };
  const reached = (aims: ReturnType<typeof aimsOf>) =>
    Object.fromEntries(aims.map(({ name, reached: is }) => [name.split(",")[0], is]));

  it("stands beside what it reached", () => {
    const aims = aimsOf({ ...of, measured: FIGURES, ...shares });
    expect(reached(aims)).toEqual({
      "decode of one chat": false,
      "tokens of 32 chats over those of one": true,
      "first token of a picture of 512 tokens": true,
      "prefill of 2048 tokens": false,
      "bytes to the card in a step": true,
      "event loop": true,
    });
    expect(aims.map(describeAim)[0]).toBe(
      "decode of one chat, % of the memory's speed: 14 (≥ 45 %): 未达到 · missed",
    );
    const late = { ...FIGURES, firstTokenMs: 41, gapMs: 5.1 };
    expect(reached(aimsOf({ ...of, measured: late, ...shares }))).toMatchObject({
      "first token of a picture of 512 tokens": false,
      "event loop": false,
    });
    expect(reached(aimsOf({ ...of, shape: "8b", measured: late, ...shares }))).toMatchObject({
      "first token of a picture of 512 tokens": true,
    });
  });

  it("is more of recorded steps, and of cards for people", () => {
    const limit = (part: object) =>
      aimsOf({ ...of, measured: FIGURES, ...shares, ...part })[0]!.aim;
    expect(limit({ steps: "recorded" })).toBe("≥ 60 %");
    expect(limit({ steps: "kernels" })).toBe("≥ 45 %");
    expect(limit({ card: "NVIDIA GeForce RTX 4090" })).toBe("≥ 80 %");
  });

  it("is nothing of what was not measured", () => {
    const none = { ...FIGURES, decode: [], firstTokenMs: undefined };
    const without = { decodeShare: undefined, prefillShare: undefined, batchGain: undefined };
    expect(Object.keys(reached(aimsOf({ ...of, measured: none, ...without })))).toEqual([
      "event loop",
    ]);
  });
});

describe("a budget of time", () => {
  it("of a software driver is what is left of its proof, within bounds", () => {
    expect([0, 240_000, 600_000].map(softwareBudgetMs)).toEqual([150_000, 90_000, 45_000]);
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
