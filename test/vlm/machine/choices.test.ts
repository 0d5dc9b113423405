import { writeFileSync } from "node:fs";
import { mkdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { beforeAll, describe, expect, it, vi } from "vitest";
import { configOf } from "../../../src/cli/bench/shapes.ts";
import { parseConfig, type Qwen3VlConfig } from "../../../src/vlm/checkpoint/config.ts";
import {
  firstTokenMs,
  imageBudget,
  isFastAnywhere,
} from "../../../src/vlm/machine/image-budget.ts";
import { type MachineProfile, machineProfile } from "../../../src/vlm/machine/machine-profile.ts";
import {
  choosePrecisionFor,
  precisionForCheckpoint,
} from "../../../src/vlm/machine/precision-choice.ts";
import { measureProducts } from "../../../src/vlm/machine/product-speed.ts";
import { formatFixture, quantizedCheckpoint } from "../../support/format-fixture.ts";
import { TINY_CHAT } from "../../support/golden-checkpoint.ts";
import { tempDir } from "../../support/temp-dir.ts";

vi.mock("../../../src/vlm/machine/product-speed.ts", { spy: true });

/** Speeds in Gop/s with many rows and in GB/s with one. */
function profile(
  speeds: Record<"fp32" | "w8a8" | "q4", readonly [number, number]>,
): MachineProfile {
  const products = (["fp32", "w8a8", "q4"] as const).flatMap((precision) => {
    const [gigaOps, gigaBytes] = speeds[precision];
    return [
      { precision, rows: 1, gigaOps: 1, gigaBytes },
      { precision, rows: 64, gigaOps, gigaBytes: 1 },
    ];
  });
  return { cpu: "a CPU", threads: 2, onnxRuntime: "1.30.0", products, gigaBytes: 30 };
}

// Measured: two cores with plain AVX2, two with AMX, and one that is four times as slow as the first.
const AVX2 = profile({ fp32: [172, 31], w8a8: [350, 22], q4: [205, 21] });
const AMX = profile({ fp32: [301, 28], w8a8: [2900, 28], q4: [407, 19] });
const SLOW = profile({ fp32: [40, 9], w8a8: [40, 9], q4: [50, 8] });
const GIB = 2 ** 30;

let config2b: Qwen3VlConfig;
let configMini: Qwen3VlConfig;
beforeAll(() => {
  config2b = parseConfig(configOf("2b"), "config.json");
  configMini = parseConfig(configOf("mini"), "config.json");
});

const W8A8 = { decoder: "w8a8", vision: "w8a8" } as const;

describe("imageBudget", () => {
  it("is the largest one that is expected in time", () => {
    for (const target of [6_000, 10_000, 14_000]) {
      const { maxImageTokens, expectedFirstTokenMs } = imageBudget(AVX2, config2b, W8A8, target);
      expect(maxImageTokens).toBeGreaterThan(128);
      expect(maxImageTokens).toBeLessThan(1024);
      expect(expectedFirstTokenMs).toBeLessThanOrEqual(target);
      expect(firstTokenMs(AVX2, config2b, W8A8, maxImageTokens + 1)).toBeGreaterThan(target);
    }
  });

  it("never leaves 128 to 1024", () => {
    expect(imageBudget(SLOW, config2b, W8A8, 2_000).maxImageTokens).toBe(128);
    expect(imageBudget(AMX, config2b, W8A8, 20_000).maxImageTokens).toBe(1024);
    expect(imageBudget(AVX2, configMini, W8A8, 10_000).maxImageTokens).toBe(1024);
  });

  it("expects about what was measured for a picture of 196 tokens", () => {
    // Vision 0.72 s and 260 tokens of prompt at 400 a second, with AMX.
    const ms = firstTokenMs(AMX, config2b, W8A8, 196);
    expect(ms).toBeGreaterThan(700);
    expect(ms).toBeLessThan(2_000);
  });

  it("needs no measurement for a model that is fast anywhere", async () => {
    const tiny = parseConfig(
      JSON.parse(await readFile(join(TINY_CHAT, "config.json"), "utf8")),
      "config.json",
    );
    expect(isFastAnywhere(tiny, 10_000)).toBe(true);
    expect(isFastAnywhere(config2b, 10_000)).toBe(false);
  });
});

describe("choosePrecisionFor", () => {
  it("takes w8a8 where int8 is as fast or faster, and on both kinds of CPU that were measured", () => {
    expect(choosePrecisionFor(AMX, config2b, 16 * GIB).precision).toBe("w8a8");
    const { precision, reason } = choosePrecisionFor(AVX2, config2b, 16 * GIB);
    expect(precision).toBe("w8a8");
    expect(reason).toMatch(/expected to take \d+\.\d s in w8a8 and \d+\.\d s in q4/);
  });

  it("takes q4 where it is twice as fast, or where only it fits", () => {
    const noInt8 = profile({ fp32: [170, 30], w8a8: [60, 10], q4: [200, 20] });
    expect(choosePrecisionFor(noInt8, config2b, 16 * GIB).precision).toBe("q4");
    expect(choosePrecisionFor(AVX2, config2b, 2.8 * GIB)).toEqual({
      precision: "q4",
      reason: "the 1.7 GB of w8a8 do not fit into memory",
    });
    expect(choosePrecisionFor(AVX2, config2b, 1 * GIB).precision).toBe("w8a8");
  });
});

describe("a machine's profile", () => {
  const speeds = (precision: "fp32" | "w8a8" | "q4") => [
    { precision, rows: 1, gigaOps: 10, gigaBytes: 20 },
    { precision, rows: 64, gigaOps: 100, gigaBytes: 1 },
  ];

  it("is measured once, kept beside the package, and measured again for another processor", async () => {
    const measure = vi.mocked(measureProducts);
    measure.mockImplementation(async (precision) => speeds(precision));
    const dir = await tempDir();
    const first = await machineProfile(dir, { threads: 3 });
    expect(first.gigaBytes).toBe(20);
    expect(measure).toHaveBeenCalledTimes(3);
    const path = join(dir, "machine.json");
    const kept = JSON.parse(await readFile(path, "utf8"));
    expect(kept).toMatchObject(first);
    expect(await machineProfile(dir, { threads: 3 })).toEqual(expect.objectContaining(first));

    for (const damaged of [{ ...kept, cpu: "another" }, { ...kept, products: [] }, "{"]) {
      writeFileSync(path, typeof damaged === "string" ? damaged : JSON.stringify(damaged));
      expect(await machineProfile(dir, { threads: 3 })).toEqual(first);
      expect(JSON.parse(await readFile(path, "utf8"))).toMatchObject(first);
    }
    // One process measures once, whatever files say.
    expect(measure).toHaveBeenCalledTimes(3);
    await machineProfile(dir, { threads: 2 });
    expect(measure).toHaveBeenCalledTimes(6);
  });

  it("is nobody's failure when it cannot be kept", async () => {
    vi.mocked(measureProducts).mockImplementation(async (precision) => speeds(precision));
    const dir = join(await tempDir(), "nowhere");
    expect(await machineProfile(dir, { threads: 3 })).toMatchObject({ threads: 3 });
  });

  it("is not asked for when a checkpoint is small, and a broken one gets the usual precision", async () => {
    const measure = vi.mocked(measureProducts);
    measure.mockClear();
    expect(await precisionForCheckpoint(TINY_CHAT)).toBe("w8a8");
    const inFourBits = await quantizedCheckpoint(await tempDir(), await formatFixture("awq"));
    expect(await precisionForCheckpoint(inFourBits)).toBe("q4");
    const inFp8 = await quantizedCheckpoint(await tempDir(), await formatFixture("fp8"));
    expect(await precisionForCheckpoint(inFp8)).toBe("w8a8");
    const empty = join(await tempDir(), "empty");
    await mkdir(empty);
    expect(await precisionForCheckpoint(empty)).toBe("w8a8");
    expect(measure).not.toHaveBeenCalled();
  });
});
