import { writeFileSync } from "node:fs";
import { mkdir, readFile } from "node:fs/promises";
import { cpus } from "node:os";
import { join } from "node:path";
import { beforeAll, beforeEach, describe, expect, it, vi } from "vitest";
import { configOf } from "../../../src/cli/bench/shapes.ts";
import { parseConfig, type Qwen3VlConfig } from "../../../src/vlm/checkpoint/config.ts";
import type { CacheFormat } from "../../../src/vlm/convert/cached-attention.ts";
import type { ModelPackage } from "../../../src/vlm/engine/onnx-package.ts";
import { loadAttention } from "../../../src/vlm/machine/attention-speed.ts";
import { chooseCacheFormat } from "../../../src/vlm/machine/cache-choice.ts";
import {
  firstTokenMs,
  imageBudget,
  isFastAnywhere,
} from "../../../src/vlm/machine/image-budget.ts";
import { chooseKvPrecision, chooseRunsFor } from "../../../src/vlm/machine/load-choices.ts";
import { type MachineProfile, machineProfile } from "../../../src/vlm/machine/machine-profile.ts";
import {
  choosePrecisionFor,
  precisionForCheckpoint,
} from "../../../src/vlm/machine/precision-choice.ts";
import { loadProducts } from "../../../src/vlm/machine/product-speed.ts";
import { chooseRuns, USUAL_RUNS } from "../../../src/vlm/machine/run-choices.ts";
import { type LoadOptions, resolveLoadOptions } from "../../../src/vlm/options.ts";
import { ORT_VERSION } from "../../../src/vlm/runtime/ort-library.ts";
import { formatFixture, quantizedCheckpoint } from "../../support/format-fixture.ts";
import { TINY_CHAT } from "../../support/golden-checkpoint.ts";
import { tempDir } from "../../support/temp-dir.ts";

vi.mock("../../../src/vlm/machine/product-speed.ts", { spy: true });
vi.mock("../../../src/vlm/machine/attention-speed.ts", { spy: true });

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
  return {
    cpu: "a CPU",
    threads: 2,
    onnxRuntime: "1.30.0",
    products,
    attention: [],
    gigaBytes: 30,
  };
}

/** Of keys and values: milliseconds of a token and of 256 tokens. */
function attention(
  fp32: readonly [number, number],
  int8: readonly [number, number],
): Pick<MachineProfile, "attention"> {
  const speed = (cache: CacheFormat, [stepMs, chunkMs]: readonly [number, number]) => ({
    cache,
    context: 1024,
    stepMs,
    chunkMs,
  });
  return { attention: [speed("fp32", fp32), speed("int8", int8)] };
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

  it("takes q4 where it is twice as fast, or where w8a8 does not fit", () => {
    const noInt8 = profile({ fp32: [170, 30], w8a8: [60, 10], q4: [200, 20] });
    expect(choosePrecisionFor(noInt8, config2b, 16 * GIB).precision).toBe("q4");
    expect(choosePrecisionFor(AVX2, config2b, 2.8 * GIB)).toEqual({
      precision: "q4",
      reason: "the 1.7 GB of w8a8 do not fit into memory",
    });
    // Too little for either: what is told then is what the smaller one needs.
    expect(choosePrecisionFor(AVX2, config2b, 1 * GIB).precision).toBe("q4");
  });
});

describe("chooseCacheFormat", () => {
  it("takes int8 where a turn of a bot is faster with it", () => {
    // Measured, two cores with plain AVX2; and what a CPU without a fast path for int8 would say.
    expect(chooseCacheFormat(attention([0.37, 19], [0.26, 20.8]), "w8a8")).toBe("int8");
    expect(chooseCacheFormat(attention([0.37, 19], [0.26, 53]), "w8a8")).toBe("fp32");
    expect(chooseCacheFormat(attention([0.37, 19], [0.6, 19]), "q4")).toBe("fp32");
  });

  it("takes fp32 for weights in fp32, and where nothing was measured", () => {
    expect(chooseCacheFormat(attention([0.37, 19], [0.26, 19]), "fp32")).toBe("fp32");
    expect(chooseCacheFormat({ attention: [] }, "w8a8")).toBe("fp32");
  });
});

describe("chooseRuns", () => {
  /** Gop/s by rows. */
  const runs = (speeds: Record<number, number>, name: "2b" | "8b" = "2b") =>
    chooseRuns(
      {
        ...AVX2,
        products: Object.entries(speeds).map(([rows, gigaOps]) => ({
          precision: "w8a8" as const,
          rows: Number(rows),
          gigaOps,
          gigaBytes: 1,
        })),
      },
      parseConfig(configOf(name), name),
      "w8a8",
    );
  // Measured, two cores each.
  const zen3 = { 1: 44, 2: 86, 4: 163, 8: 197, 64: 247, 256: 350 };
  const amx = { 1: 56, 2: 112, 4: 224, 8: 430, 64: 1700, 256: 2900 };

  it("reads prompts in pieces of at most three seconds", () => {
    expect(runs(amx).chunkTokens).toBe(256);
    expect(runs(zen3).chunkTokens).toBe(192);
    expect(runs(zen3, "8b").chunkTokens).toBe(64);
    expect(runs({ 1: 1, 8: 2, 64: 2 }).chunkTokens).toBe(64);
  });

  it("writes as many answers at once as get a token within half a second", () => {
    expect(runs(amx).mostConcurrent).toBe(8);
    expect(runs(zen3).mostConcurrent).toBe(8);
    expect(runs(zen3, "8b").mostConcurrent).toBe(4);
  });

  it("knows what a row costs: nearly nothing with int8 units, a third of a step without", () => {
    expect(runs(amx).costOfRow).toBeLessThan(0.02);
    expect(runs(zen3).costOfRow).toBeCloseTo((8 / 197 / (1 / 44) - 1) / 7, 6);
  });
});

describe("a load", () => {
  const machine = {
    measurement: 2,
    cpu: cpus()[0]?.model.trim() || process.arch,
    threads: 2,
    onnxRuntime: ORT_VERSION,
  };
  const load = async (
    kept: Pick<MachineProfile, "attention">,
    options: Partial<LoadOptions> = {},
    cacheFormats: readonly CacheFormat[] = ["fp32", "fp16", "int8"],
  ) => {
    const directory = await tempDir();
    const profile = { ...AVX2, ...kept, ...machine };
    writeFileSync(join(directory, "machine.json"), JSON.stringify(profile));
    const resolved = resolveLoadOptions({ model: directory, threads: 2, ...options });
    const found: ModelPackage = {
      directory,
      name: "a 2B",
      config: config2b,
      assumptions: [],
      precision: W8A8,
      weightBytes: 0,
      cacheFormats,
    };
    return {
      kvPrecision: await chooseKvPrecision(found, resolved),
      runs: await chooseRunsFor(found, resolved),
    };
  };

  it("goes by the profile that is kept beside the package, unless it is told otherwise", async () => {
    const int8IsFaster = attention([0.37, 19], [0.26, 20.8]);
    const { kvPrecision, runs } = await load(int8IsFaster);
    expect(kvPrecision).toBe("int8");
    expect(runs).toEqual(chooseRuns({ ...AVX2, ...int8IsFaster }, config2b, "w8a8"));
    expect((await load(attention([0.37, 19], [0.6, 53]))).kvPrecision).toBe("fp32");
    expect((await load(int8IsFaster, { kvPrecision: "fp16" })).kvPrecision).toBe("fp16");
    expect((await load(int8IsFaster, {}, ["fp32"])).kvPrecision).toBe("fp32");
    await expect(load(int8IsFaster, { kvPrecision: "int8" }, ["fp32"])).rejects.toThrow(
      "a 2B keeps keys and values in fp32 only, not in int8.",
    );
    const onCard = await load(int8IsFaster, { device: "webgpu" });
    expect(onCard).toEqual({ kvPrecision: "fp32", runs: USUAL_RUNS });
  });
});

const SOME_ATTENTION = (cache: CacheFormat) => ({ cache, context: 1024, stepMs: 0.5, chunkMs: 20 });

describe("a machine's profile", () => {
  const ready = <Speed>(speed: Speed) => ({ measure: async () => speed, dispose: async () => {} });
  const speeds = (precision: "fp32" | "w8a8" | "q4") => [
    { precision, rows: 1, gigaOps: 10, gigaBytes: 20 },
    { precision, rows: 64, gigaOps: 100, gigaBytes: 1 },
  ];

  beforeEach(() => {
    vi.mocked(loadProducts)
      .mockClear()
      .mockImplementation(async (precision) => ready(speeds(precision)));
    vi.mocked(loadAttention)
      .mockClear()
      .mockImplementation(async (cache) => ready(SOME_ATTENTION(cache)));
  });

  it("is measured once, kept beside the package, and measured again for another processor", async () => {
    const measure = vi.mocked(loadProducts);
    const dir = await tempDir();
    const first = await machineProfile(dir, { threads: 3 });
    expect(first.gigaBytes).toBe(20);
    expect(first.attention).toEqual([SOME_ATTENTION("fp32"), SOME_ATTENTION("int8")]);
    expect(measure).toHaveBeenCalledTimes(3);
    const path = join(dir, "machine.json");
    const kept = JSON.parse(await readFile(path, "utf8"));
    expect(kept).toMatchObject(first);
    expect(await machineProfile(dir, { threads: 3 })).toEqual(expect.objectContaining(first));

    for (const damaged of [
      { ...kept, cpu: "another" },
      { ...kept, products: [] },
      { ...kept, measurement: 1 },
      "{",
    ]) {
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
    const dir = join(await tempDir(), "nowhere");
    // Measured by no other test: a process measures once for each number of threads.
    expect(await machineProfile(dir, { threads: 5 })).toMatchObject({ threads: 5 });
  });

  it("is not asked for when a checkpoint is small, and a broken one gets the usual precision", async () => {
    expect(await precisionForCheckpoint(TINY_CHAT)).toBe("w8a8");
    const inFourBits = await quantizedCheckpoint(await tempDir(), await formatFixture("awq"));
    expect(await precisionForCheckpoint(inFourBits)).toBe("q4");
    const inFp8 = await quantizedCheckpoint(await tempDir(), await formatFixture("fp8"));
    expect(await precisionForCheckpoint(inFp8)).toBe("w8a8");
    const empty = join(await tempDir(), "empty");
    await mkdir(empty);
    expect(await precisionForCheckpoint(empty)).toBe("w8a8");
    expect(vi.mocked(loadProducts)).not.toHaveBeenCalled();
  });
});
