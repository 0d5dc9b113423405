import { getEventListeners } from "node:events";
import { rm, truncate } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { convertCheckpoint } from "../../../src/vlm/convert/convert.ts";
import { Decoder } from "../../../src/vlm/engine/decoder.ts";
import { type OnnxPackage, openPackage } from "../../../src/vlm/engine/onnx-package.ts";
import { VisionEncoder } from "../../../src/vlm/engine/vision-encoder.ts";
import { DisposedError, InferenceError, ModelLoadError } from "../../../src/vlm/errors.ts";
import { mropePositions } from "../../../src/vlm/text/position-ids.ts";
import { openCache, prefill, step } from "../../support/chunks.ts";
import { largestDifference } from "../../support/float-error.ts";
import { goldenCheckpoint } from "../../support/golden-checkpoint.ts";
import { tempDir } from "../../support/temp-dir.ts";

const CAPACITY = 1500;
let directory: string;
let model: OnnxPackage;
let decoder: Decoder;

beforeAll(async () => {
  directory = await tempDir();
  const outputDir = join(directory, "package");
  const checkpointDir = await goldenCheckpoint("tiny-tied", directory);
  await convertCheckpoint({ checkpointDir, outputDir, precision: "fp32" });
  model = await openPackage(outputDir);
  decoder = await Decoder.load(model);
});

afterAll(() => decoder.dispose());

/** A text of `tokens` tokens, `from` a token of it on. */
function text(tokens: number, from = 0) {
  const ids = Int32Array.from({ length: tokens - from }, (_, index) => (7 * (from + index)) % 240);
  const start = { nextPosition: from, length: from };
  return { ids, positions: mropePositions(tokens - from, [], start).positions };
}

const oneTick = () => new Promise((resolve) => setImmediate(resolve));

describe("aborting a prefill", () => {
  it("rejects with the reason, keeps the chunks that were done, and can be gone on from", async () => {
    const cache = openCache(decoder, CAPACITY);
    const controller = new AbortController();
    const reason = new Error("changed my mind");
    const { signal } = controller;
    const running = prefill(decoder, text(1000), cache, { chunkTokens: 1, signal });
    const outcome = expect(running).rejects.toBe(reason);
    while (cache.length < 3) await oneTick();
    controller.abort(reason);
    await outcome;
    const done = cache.length;
    expect(done).toBeGreaterThanOrEqual(3);
    expect(done).toBeLessThan(1000);
    expect(getEventListeners(signal, "abort")).toHaveLength(0);

    const resumed = await prefill(decoder, text(1000, done), cache);
    cache.clear();
    const whole = await prefill(decoder, text(1000), cache);
    expect(largestDifference(resumed, whole)).toBeLessThan(1e-4);
    cache.dispose();
  });

  it("leaves a chunk that did not end out of the cache", async () => {
    const cache = openCache(decoder, CAPACITY);
    const controller = new AbortController();
    const running = prefill(decoder, text(CAPACITY), cache, {
      chunkTokens: CAPACITY,
      signal: controller.signal,
    });
    const outcome = expect(running).rejects.toThrow("enough");
    await oneTick();
    controller.abort(new Error("enough"));
    await outcome;
    expect(cache.length).toBe(0);
    cache.dispose();
  });

  it("runs nothing when the signal is aborted already", async () => {
    const cache = openCache(decoder, 8);
    const signal = AbortSignal.abort(new Error("before"));
    await expect(prefill(decoder, text(4), cache, { signal })).rejects.toThrow("before");
    await expect(step(decoder, 1, 0, cache, { signal })).rejects.toThrow("before");
    expect(cache.length).toBe(0);
    cache.dispose();
  });
});

describe("caches", () => {
  it("are apart from each other, also when they run at once", async () => {
    const caches = [10, 20, 30].map((tokens) => ({ tokens, cache: openCache(decoder, 40) }));
    const alone = openCache(decoder, 40);
    await Promise.all(
      caches.map(({ tokens, cache }) => prefill(decoder, text(tokens), cache, { chunkTokens: 3 })),
    );
    const steps = await Promise.all(
      caches.map(({ tokens, cache }) => step(decoder, 5, tokens, cache)),
    );
    for (const [index, { tokens, cache }] of caches.entries()) {
      alone.clear();
      await prefill(decoder, text(tokens), alone);
      const expected = await step(decoder, 5, tokens, alone);
      expect(largestDifference(steps[index]!, expected)).toBeLessThan(1e-4);
      expect(cache.length).toBe(tokens + 1);
      cache.dispose();
    }
    alone.dispose();
  });

  it("refuse a second run at the same time", async () => {
    const cache = openCache(decoder, 40);
    const first = prefill(decoder, text(20), cache, { chunkTokens: 2 });
    await expect(step(decoder, 1, 20, cache)).rejects.toThrow("in use by another run");
    await first;
    expect(cache.length).toBe(20);
    cache.dispose();
  });

  it("refuse more tokens than fit, before anything runs", async () => {
    const cache = openCache(decoder, 10);
    await expect(prefill(decoder, text(11), cache)).rejects.toThrow(
      "The KV cache holds 0 of 10 tokens: 11 more do not fit",
    );
    await prefill(decoder, text(10), cache);
    await expect(step(decoder, 1, 10, cache)).rejects.toThrow(RangeError);
    expect(cache.length).toBe(10);
    cache.dispose();
    await expect(step(decoder, 1, 10, cache)).rejects.toBeInstanceOf(DisposedError);
  });

  it("are refused with advice when there is no memory for so many tokens", () => {
    const create = () => openCache(decoder, 2 ** 40);
    expect(create).toThrow(ModelLoadError);
    expect(create).toThrow(/1 contexts of 1099511627776 tokens.*smaller maxContextTokens/u);
  });

  it("are filled to the last token", async () => {
    const cache = openCache(decoder, 10);
    await prefill(decoder, text(9), cache);
    const last = await step(decoder, text(10).ids[9]!, 9, cache);
    const roomy = openCache(decoder, 40);
    expect(largestDifference(last, await prefill(decoder, text(10), roomy))).toBeLessThan(1e-4);
    cache.dispose();
    roomy.dispose();
  });
});

describe("wrong input", () => {
  it("is refused before anything runs", async () => {
    const cache = openCache(decoder, 40);
    const features = {
      tokens: 4,
      imageFeatures: new Float32Array(4 * 64),
      deepstack: new Float32Array(2 * 4 * 64),
      byteLength: 0,
    };
    await expect(
      decoder.append({ ...text(6), images: [{ start: 6, features }] }, cache),
    ).rejects.toThrow("A picture takes tokens 6 to 10, but there are 6 tokens");
    await expect(
      decoder.append({ ids: new Int32Array(2), positions: new Int32Array(5) }, cache),
    ).rejects.toThrow("(3, 2)");
    await expect(prefill(decoder, text(0), cache)).rejects.toThrow("at least one token");
    expect(cache.length).toBe(0);
    cache.dispose();
  });

  it("is an InferenceError with its stage when it is found during the run", async () => {
    const cache = openCache(decoder, 40);
    const unknown = { ids: Int32Array.of(1, 9999), positions: new Int32Array(6) };
    await expect(prefill(decoder, unknown, cache)).rejects.toMatchObject({
      name: "InferenceError",
      stage: "prefill",
      cause: expect.any(RangeError),
    });
    await expect(step(decoder, -1, 0, cache)).rejects.toMatchObject({ stage: "decode" });
    const guesses = decoder.append(unknown, cache, { scores: "all", stage: "decode" });
    await expect(guesses).rejects.toMatchObject({ stage: "decode" });
    cache.dispose();

    const encoder = await VisionEncoder.load(model);
    const pixelValues = new Float32Array(4 * 100);
    const failed = encoder.encode({ pixelValues, gridHeight: 2, gridWidth: 2 });
    await expect(failed).rejects.toBeInstanceOf(InferenceError);
    await expect(failed).rejects.toMatchObject({
      stage: "vision",
      message: expect.stringContaining("`pixel_values`"),
    });
    await encoder.dispose();
  });
});

describe("Decoder.dispose", () => {
  it("waits for the run in progress, ends the prefill and its caches, and may be called again", async () => {
    const other = await Decoder.load(model);
    const cache = openCache(other, CAPACITY);
    const running = prefill(other, text(1000), cache, { chunkTokens: 1 });
    const outcome = expect(running).rejects.toBeInstanceOf(DisposedError);
    while (cache.length < 3) await oneTick();
    await Promise.all([other.dispose(), other.dispose()]);
    await outcome;
    expect(cache.disposed).toBe(true);
    expect(() => openCache(other, 10)).toThrow(DisposedError);
  });
});

describe("VisionEncoder", () => {
  it("stops when aborted, and refuses to work after dispose", async () => {
    const encoder = await VisionEncoder.load(model);
    const picture = {
      pixelValues: new Float32Array(64 * 64 * 1536),
      gridHeight: 64,
      gridWidth: 64,
    };
    const controller = new AbortController();
    const encoding = encoder.encode(picture, { signal: controller.signal });
    const outcome = expect(encoding).rejects.toThrow("not needed");
    await oneTick();
    controller.abort(new Error("not needed"));
    await outcome;
    await encoder.dispose();
    await expect(encoder.encode(picture)).rejects.toBeInstanceOf(DisposedError);
  });
});

describe("loading a package", () => {
  it("says what is missing or broken, and closes what it has opened", async () => {
    const damaged = join(directory, "damaged");
    await convertCheckpoint({
      checkpointDir: join(directory, "tiny-tied"),
      outputDir: damaged,
      precision: "fp32",
    });
    const broken = await openPackage(damaged);
    await truncate(join(damaged, broken.manifest.decoder.dataFile), 100);
    await expect(Decoder.load(broken)).rejects.toMatchObject({ code: "session-failed" });
    await rm(join(damaged, broken.manifest.visionEncoder.file));
    await expect(VisionEncoder.load(broken)).rejects.toMatchObject({
      code: "model-files-missing",
      missing: [broken.manifest.visionEncoder.file],
    });
    await rm(join(damaged, "config.json"));
    await expect(openPackage(damaged)).rejects.toMatchObject({ missing: ["config.json"] });
  });
});
