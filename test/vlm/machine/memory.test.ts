// Will it fit? The estimate against a table and against a real process, what is free in containers, and the refusal.

import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { configOf } from "../../../src/cli/bench/shapes.ts";
import { recommendModel } from "../../../src/cli/doctor/recommend-model.ts";
import { parseConfig } from "../../../src/vlm/checkpoint/config.ts";
import { convertCheckpoint } from "../../../src/vlm/convert/convert.ts";
import { ModelLoadError } from "../../../src/vlm/errors.ts";
import { checkMemory, plannedWeightBytes } from "../../../src/vlm/machine/memory-check.ts";
import { estimateMemory } from "../../../src/vlm/machine/memory-estimate.ts";
import { expectModel, recommend } from "../../../src/vlm/machine/recommendation.ts";
import { loadQwen3Vl } from "../../../src/vlm/qwen3-vl.ts";
import { freeMemory } from "../../../src/vlm/runtime/free-memory.ts";
import { bundleChild, type Child } from "../../support/child-process.ts";
import { TINY_CHAT } from "../../support/golden-checkpoint.ts";
import { CONFIG_2B, syntheticCheckpoint } from "../../support/synthetic-checkpoint.ts";
import { tempDir } from "../../support/temp-dir.ts";

const GB = 1e9;
const shape = (name: "2b" | "4b" | "8b") => parseConfig(configOf(name), name);

describe("estimateMemory", () => {
  // What the documentation says of weights and a context of 4096 tokens, plus one picture and the process.
  it.each([
    ["2b", "w8a8", 3.1, 0.9],
    ["2b", "q4", 2.4, 0.9],
    ["4b", "q4", 4.0, 0.9],
    ["8b", "w8a8", 9.4, 1.0],
  ] as const)(
    "of a %s in %s is the documented size and something to work in",
    (name, decoder, documented, more) => {
      const config = shape(name);
      const weightBytes = plannedWeightBytes(config, { decoder, vision: "w8a8" });
      const asked = { contextTokens: 4096, imageTokens: 1024, cacheBytes: 0 };
      const { total, weights, context } = estimateMemory({ config, weightBytes, ...asked });
      expect((weights + context) / GB).toBeCloseTo(documented, 0);
      expect(total / GB).toBeGreaterThan(documented);
      expect(total / GB).toBeLessThan(documented + more);
    },
  );

  it("grows with context, pictures and named caches, and with nothing else", () => {
    const config = shape("2b");
    const small = {
      config,
      weightBytes: 2 * GB,
      contextTokens: 4096,
      imageTokens: 512,
      cacheBytes: 0,
    };
    const of = (change: object) =>
      estimateMemory({ ...small, ...change }).total - estimateMemory(small).total;
    // 28 layers, 8 heads of 128 keys and as many values in f32.
    expect(of({ contextTokens: 8192 })).toBe(4096 * 28 * 2 * 8 * 128 * 4);
    expect(of({ cacheBytes: 1e8 })).toBe(1e8);
    expect(of({ imageTokens: 1024 })).toBeGreaterThan(0);
    expect(of({ weightBytes: 3 * GB })).toBe(1 * GB);
  });

  it("knows the bytes of weights before a conversion", async () => {
    const outputDir = join(await tempDir(), "package");
    const text = await readFile(join(TINY_CHAT, "config.json"), "utf8");
    const parsed = parseConfig(JSON.parse(text), "config.json");
    const manifest = await convertCheckpoint({
      checkpointDir: TINY_CHAT,
      outputDir,
      precision: "q4",
    });
    const data = manifest.outputs.filter(({ file }) => file.endsWith(".onnx.data"));
    const bytes = data.reduce((sum, each) => sum + each.bytes, 0);
    expect(plannedWeightBytes(parsed, manifest.precision)).toBe(bytes);
  });
});

describe.skipIf(process.platform !== "linux")("the estimate of a real process", () => {
  let child: Child;

  beforeAll(async () => {
    child = await bundleChild(new URL("./children/load.ts", import.meta.url));
  });

  afterAll(() => child.remove());

  it.each(["fp32", "w8a8"] as const)(
    "is near what a model of 0.1 billion weights takes in %s",
    async (precision) => {
      const dir = await syntheticCheckpoint(await tempDir(), { config: MIDDLE_SIZED });
      const outputDir = join(await tempDir(), "package");
      const { outputs } = await convertCheckpoint({ checkpointDir: dir, outputDir, precision });
      const data = outputs.filter(({ file }) => file.endsWith(".onnx.data"));
      const weightBytes = data.reduce((sum, { bytes }) => sum + bytes, 0);
      const { exitCode, stdout, stderr } = await child.run(outputDir);
      expect([exitCode, stderr]).toEqual([0, ""]);
      const { before, after } = JSON.parse(stdout) as { before: number; after: number };
      const { total } = estimateMemory({
        config: parseConfig(MIDDLE_SIZED, "config.json"),
        weightBytes,
        contextTokens: 1024,
        imageTokens: 64,
        cacheBytes: 0,
      });
      expect(after - before).toBeLessThan(1.15 * total);
      expect(after - before).toBeGreaterThan(0.5 * total);
    },
  );
});

describe.skipIf(process.platform !== "linux")("shareWeights", () => {
  it("maps weights instead of copying them, and answers the same", async () => {
    const child = await bundleChild(new URL("./children/share.ts", import.meta.url));
    try {
      const dir = await syntheticCheckpoint(await tempDir(), { config: MIDDLE_SIZED });
      const outputDir = join(await tempDir(), "package");
      const { outputs } = await convertCheckpoint({
        checkpointDir: dir,
        outputDir,
        precision: "fp32",
      });
      const data = outputs.filter(({ file }) => file.endsWith(".onnx.data"));
      const weightBytes = data.reduce((sum, { bytes }) => sum + bytes, 0);
      const results: { anonymous: number; text: string }[] = [];
      for (const shared of ["false", "true"]) {
        const { stdout, stderr } = await child.run(outputDir, shared);
        expect(stderr).toBe("");
        results.push(JSON.parse(stdout) as { anonymous: number; text: string });
      }
      const [own, mapped] = results;
      expect(mapped?.text).toBe(own?.text);
      // Nearly all of the weights; what is small stays a copy.
      const saved = (own?.anonymous ?? 0) - (mapped?.anonymous ?? 0);
      expect(saved).toBeGreaterThan(0.7 * weightBytes);
    } finally {
      await child.remove();
    }
  });
});

const MIDDLE_SIZED = {
  ...CONFIG_2B,
  // Of the tokenizer that comes along.
  image_token_id: 1676,
  video_token_id: 1677,
  vision_start_token_id: 1673,
  vision_end_token_id: 1674,
  text_config: {
    ...CONFIG_2B.text_config,
    vocab_size: 1728,
    hidden_size: 768,
    intermediate_size: 3072,
    num_hidden_layers: 10,
    num_attention_heads: 6,
    num_key_value_heads: 2,
    eos_token_id: 1,
  },
  vision_config: {
    ...CONFIG_2B.vision_config,
    depth: 4,
    hidden_size: 256,
    intermediate_size: 1024,
    num_heads: 4,
    out_hidden_size: 768,
    deepstack_visual_indexes: [0, 1],
  },
};

describe("freeMemory", () => {
  const linux = (files: Record<string, string>) =>
    freeMemory({
      read: (path) => files[path],
      platform: "linux",
      machineFree: 16 * GB,
      machineTotal: 32 * GB,
    });

  it.each([
    ["without groups", {}, 16 * GB],
    [
      "in a group without a limit",
      { "/proc/self/cgroup": "0::/\n", "/sys/fs/cgroup/memory.max": "max\n" },
      16 * GB,
    ],
    [
      "in a container of version 2, whose file pages can be given back",
      {
        "/proc/self/cgroup": "0::/\n",
        "/sys/fs/cgroup/memory.max": `${4 * GB}\n`,
        "/sys/fs/cgroup/memory.current": `${3.5 * GB}\n`,
        "/sys/fs/cgroup/memory.stat": `anon 1\nactive_file ${1 * GB}\ninactive_file ${2 * GB}\n`,
      },
      3.5 * GB,
    ],
    [
      "where a group around it is narrower",
      {
        "/proc/self/cgroup": "0::/a/b\n",
        "/sys/fs/cgroup/a/memory.max": `${1 * GB}`,
        "/sys/fs/cgroup/a/memory.current": "0",
        "/sys/fs/cgroup/a/b/memory.max": `${4 * GB}`,
        "/sys/fs/cgroup/a/b/memory.current": "0",
      },
      1 * GB,
    ],
    [
      "in a container of version 1",
      {
        "/proc/self/cgroup": "5:memory:/docker/x\n",
        "/sys/fs/cgroup/memory/docker/x/memory.limit_in_bytes": `${2 * GB}`,
        "/sys/fs/cgroup/memory/docker/x/memory.usage_in_bytes": `${1 * GB}`,
        "/sys/fs/cgroup/memory/docker/x/memory.stat": `total_inactive_file ${0.5 * GB}\n`,
      },
      1.5 * GB,
    ],
  ])("%s", (_, files, free) => {
    expect(linux(files as Record<string, string>)).toBe(free);
  });

  it("believes no macOS that calls its file pages used", () => {
    const free = freeMemory({
      read: () => undefined,
      platform: "darwin",
      machineFree: 0.1 * GB,
      machineTotal: 16 * GB,
    });
    expect(free).toBeCloseTo(11.2 * GB, -6);
  });
});

describe("checkMemory", () => {
  const config = shape("2b");
  const precision = { decoder: "w8a8", vision: "w8a8" } as const;
  const question = {
    name: "Qwen3-VL-2B",
    config,
    precision,
    convertible: true,
    weightBytes: plannedWeightBytes(config, precision),
    contextTokens: 16_384,
    imageTokens: 1024,
    cacheBytes: 0,
  };
  const told: string[] = [];
  const advice = (free: number, change: object = {}) => {
    try {
      checkMemory({ ...question, ...change }, "refuse", () => {}, free);
    } catch (error) {
      if (error instanceof ModelLoadError) return error;
      throw error;
    }
    return undefined;
  };

  it("lets pass what fits", () => {
    expect(advice(8 * GB)).toBeUndefined();
  });

  it.each([
    [5 * GB, {}, /Set maxContextTokens to \d+\./],
    [2.75 * GB, { contextTokens: 1024 }, "Set maxImageTokens to 128."],
    [2.1 * GB, {}, /Choose precision q4 \(weights \d\.\d GB\), and set maxContextTokens to 1024/],
    [2.1 * GB, { convertible: false }, "Choose a smaller model"],
    [3.6 * GB, { contextTokens: 1024, cacheBytes: 2 * GB }, "smaller caches"],
    [0.5 * GB, {}, "Choose a smaller model, or free some memory."],
  ])("with %d bytes free and %j says what to choose", (free, change, words) => {
    const error = advice(free, change);
    expect(error?.code).toBe("memory-short");
    expect(error?.message).toMatch(words);
    expect(error?.message).toContain('memoryCheck "warn"');
    expect(error?.freeBytes).toBe(free);
    expect(error?.neededBytes).toBeGreaterThan(free);
  });

  it("warns or keeps quiet when told to", () => {
    checkMemory(question, "warn", (sentence) => told.push(sentence), GB);
    expect(told).toEqual([expect.stringContaining("1.0 GB is free")]);
    checkMemory(question, "off", (sentence) => told.push(sentence), GB);
    expect(told).toHaveLength(1);
  });

  it("is asked by the loader, before a conversion and before a load", async () => {
    const packageDir = join(await tempDir(), "package");
    // A cache of a petabyte fits nowhere.
    const options = { model: TINY_CHAT, packageDir, prefixCacheBytes: 1e15, maxImageTokens: 128 };
    await expect(loadQwen3Vl(options)).rejects.toMatchObject({ code: "memory-short" });
    await expect(readFile(join(packageDir, "manifest.json"))).rejects.toThrow("ENOENT");
    const warnings: string[] = [];
    const onWarning = (sentence: string) => warnings.push(sentence);
    const model = await loadQwen3Vl({ ...options, memoryCheck: "warn", onWarning });
    expect(warnings.filter((sentence) => sentence.includes("Name smaller caches"))).toHaveLength(2);
    await model.dispose();
    await expect(loadQwen3Vl({ ...options, model: packageDir })).rejects.toMatchObject({
      code: "memory-short",
    });
  });
});

describe("recommendation", () => {
  /** A machine by its many-rows speed and bandwidth, q4 reading half the bytes. */
  const machine = (gigaOps: number, gigaBytes: number) => ({
    cpu: "made up",
    threads: 8,
    onnxRuntime: "0",
    gigaBytes,
    attention: [
      { cache: "fp32" as const, context: 1024, stepMs: 0.4, chunkMs: 19 },
      { cache: "int8" as const, context: 1024, stepMs: 0.2, chunkMs: 19.5 },
    ],
    products: (["w8a8", "q4", "fp32"] as const).flatMap((precision) => [
      { precision, rows: 1, gigaOps: gigaBytes * 2, gigaBytes },
      { precision, rows: 64, gigaOps: precision === "fp32" ? gigaOps / 4 : gigaOps, gigaBytes },
    ]),
  });
  const sizes = (["2b", "4b", "8b"] as const).map((name) => ({ name, config: shape(name) }));

  it.each([
    ["a large server", machine(8000, 200), 64 * GB, "8b"],
    ["a desktop", machine(1500, 25), 16 * GB, "4b"],
    ["a small machine", machine(300, 15), 8 * GB, "2b"],
    ["a large server with little memory", machine(8000, 200), 3.4 * GB, "2b"],
  ])("for %s", (_, profile, free, name) => {
    const expected = sizes.map((size) => expectModel(profile, size, free));
    expect(recommend(expected)?.name).toBe(name);
    for (const each of expected) if (each.fits) expect(each.memoryBytes).toBeLessThanOrEqual(free);
  });

  it("says that a model does not fit only where it does not in 4 bits either", () => {
    const profile = machine(1500, 25);
    let refused = 0;
    for (const { name, config } of sizes) {
      for (let free = 1.5 * GB; free < 16 * GB; free += GB / 4) {
        const { fits, maxImageTokens: imageTokens } = expectModel(profile, { name, config }, free);
        if (fits) continue;
        refused++;
        const precision = { decoder: "q4", vision: "w8a8" } as const;
        const weightBytes = plannedWeightBytes(config, precision);
        const least = { config, weightBytes, contextTokens: 1024, imageTokens, cacheBytes: 0 };
        const { total } = estimateMemory({ ...least, kvPrecision: "int8" });
        expect(total).toBeGreaterThan(free);
      }
    }
    expect(refused).toBeGreaterThan(0);
  });

  it("is none where nothing fits, and the report says what would", () => {
    const expected = sizes.map((size) => expectModel(machine(300, 15), size, GB));
    expect(recommend(expected)).toBeUndefined();
    const { verdict, found } = recommendModel(machine(300, 15), GB);
    expect(verdict).toBe("warn");
    expect(JSON.stringify(found)).toContain("1.0 GB");
  });

  it("tells precision, context, pictures, seconds and speed in both languages", () => {
    const { verdict, found } = recommendModel(machine(1500, 25), 16 * GB);
    expect(verdict).toBe("ok");
    expect(found).toMatchObject({
      zh: expect.stringMatching(
        /Qwen3-VL-4B .*上下文 8192.*首字约 [\d.]+ 秒.*键和值 int8，提示每次 256 token，最多同时 8 个回答/,
      ) as string,
      en: expect.stringMatching(
        /Qwen3-VL-4B .*first word after [\d.]+ s, [\d.]+ tokens a second/,
      ) as string,
    });
  });
});
