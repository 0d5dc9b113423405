import sharp from "sharp";
import { describe, expect, it } from "vitest";
import { ImageDecodeError } from "../../../src/vlm/errors.ts";
import {
  ImageTensorCache,
  type ImageTensorCacheOptions,
} from "../../../src/vlm/image/image-tensor.ts";
import { drawShapes } from "../../support/draw.ts";
import { goldenImages, goldenPixels, sha256Of } from "../../support/golden-images.ts";
import { writeFlatPng, writePng } from "../../support/png.ts";

const processor = {
  minPixels: 65_536,
  maxPixels: 16_777_216,
  patchSize: 16,
  temporalPatchSize: 2,
  mergeSize: 2,
  imageMean: [0.5, 0.5, 0.5],
  imageStd: [0.5, 0.5, 0.5],
} as const;

/** Small pictures stay small: 4 tokens each. */
const small = { ...processor, minPixels: 4096, maxPixels: 4096 };

function makeCache(options: Partial<ImageTensorCacheOptions> = {}): ImageTensorCache {
  return new ImageTensorCache({ maxBytes: 64 * 2 ** 20, processor, ...options });
}

const gray = (level: number) => writeFlatPng(64, 64, level);
const TENSOR_BYTES = 16 * 1536 * 4 + 512;

describe("ImageTensorCache", () => {
  it.each(goldenImages.cases)(
    "goes from file to tensor as the reference: seed $seed, $width x $height",
    async (golden) => {
      const { width, height, pixels } = goldenPixels(golden);
      const file = writePng({ width, height, color: "rgb", samples: pixels });
      const { tensor, hit } = await makeCache({ maxImageTokens: 16_384 }).get(file);
      expect(hit).toBe(false);
      expect(sha256Of(tensor.pixelValues)).toBe(golden.fast_patches_f32_sha256);
      expect([1, tensor.gridHeight, tensor.gridWidth]).toEqual(golden.grid);
      expect(tensor.imageTokens).toBe((golden.grid[1] * golden.grid[2]) / 4);
      expect([tensor.resizedHeight, tensor.resizedWidth]).toEqual(golden.resized);
      expect([tensor.sourceWidth, tensor.sourceHeight]).toEqual([width, height]);
    },
  );

  it("answers the second time from the cache", async () => {
    const cache = makeCache();
    const file = gray(1);
    const first = await cache.get(file);
    const second = await cache.get(new Uint8Array(file));
    expect([first.hit, second.hit]).toEqual([false, true]);
    expect(second.tensor).toBe(first.tensor);
  });

  it("gives every view of a picture a key of its own, the same every time", async () => {
    const frames = await Promise.all(
      (["circle", "square", "star"] as const).map((shape) => drawShapes([{ shape, color: "red" }])),
    );
    const gif = await sharp(frames, { join: { animated: true } })
      .gif()
      .toBuffer();
    const tall = await sharp(await drawShapes([{ shape: "star", color: "red" }]))
      .resize(700, 4000, { fit: "fill" })
      .png()
      .toBuffer();
    for (const [file, count] of [
      [gif, 3],
      [tall, 2],
    ] as const) {
      const keys = async (whole = false) =>
        (await makeCache().get(file, undefined, undefined, whole)).views.map((v) => v.tensor.key);
      expect(new Set(await keys()).size).toBe(count);
      expect(await keys()).toEqual(await keys());
      expect(await keys(true)).toHaveLength(1);
    }
  });

  it("bounds what an animation and a long picture cost", async () => {
    const tall = await sharp({
      create: { width: 700, height: 9000, channels: 3, background: "#123" },
    })
      .png()
      .toBuffer();
    const tokens = (await makeCache().get(tall)).views.map((view) => view.tensor.imageTokens);
    expect(tokens).toHaveLength(4);
    expect(Math.max(...tokens)).toBeLessThanOrEqual(512);
  });

  it("shares the work between those who ask at the same time; none of them is a hit", async () => {
    const cache = makeCache();
    const results = await Promise.all(Array.from({ length: 5 }, () => cache.get(gray(2))));
    expect(new Set(results.map((result) => result.tensor)).size).toBe(1);
    expect(results.map((result) => result.hit)).toEqual([false, false, false, false, false]);
  });

  it("names content and settings in the key", async () => {
    const file = gray(3);
    const keyWith = async (options: Partial<ImageTensorCacheOptions>, data = file) =>
      (await makeCache(options).get(data)).tensor.key;
    const keys = await Promise.all([
      keyWith({}),
      keyWith({}, gray(4)),
      keyWith({ maxImageTokens: 100 }),
      keyWith({ alpha: "drop" }),
      keyWith({ processor: { ...processor, imageMean: [0.4, 0.5, 0.5] } }),
      keyWith({ processor: { ...processor, imageStd: [0.4, 0.5, 0.5] } }),
      keyWith({ processor: { ...processor, minPixels: 131_072 } }),
      keyWith({ processor: { ...processor, temporalPatchSize: 1 } }),
    ]);
    expect(new Set(keys).size).toBe(keys.length);
    expect(await keyWith({ limits: { maxPixels: 99_999 } })).toBe(keys[0]);
  });

  it("keeps the sum of its sizes equal to its total, never above the limit", async () => {
    const maxBytes = TENSOR_BYTES * 3 + 100;
    const cache = makeCache({ processor: small, maxBytes });
    for (const level of [1, 2, 3, 1, 4, 5, 1, 6, 2, 2]) {
      await cache.get(gray(level));
      const sizes = cache.tensors.map((tensor) => tensor.byteLength);
      expect(sizes).toEqual(sizes.map(() => TENSOR_BYTES));
      expect(sizes.reduce((sum, size) => sum + size, 0)).toBe(cache.totalBytes);
      expect(cache.totalBytes).toBeLessThanOrEqual(maxBytes);
    }
    expect(cache.tensors).toHaveLength(3);
    cache.clear();
    expect([cache.totalBytes, cache.tensors.length]).toEqual([0, 0]);
  });

  it("lets the least recently used picture go first", async () => {
    const cache = makeCache({ processor: small, maxBytes: TENSOR_BYTES * 2 });
    for (const level of [1, 2, 1, 3]) await cache.get(gray(level));
    expect((await cache.get(gray(1))).hit).toBe(true);
    expect((await cache.get(gray(2))).hit).toBe(false);
  });

  it.each([0, 1, TENSOR_BYTES - 1])(
    "still serves a picture larger than a cache of %i bytes",
    async (maxBytes) => {
      const cache = makeCache({ processor: small, maxBytes });
      for (let i = 0; i < 2; i++) {
        const { tensor, hit } = await cache.get(gray(1));
        expect([tensor.imageTokens, hit, cache.totalBytes]).toEqual([4, false, 0]);
      }
    },
  );

  it("remembers no failure", async () => {
    const cache = makeCache();
    const broken = gray(5).subarray(0, 60);
    const results = await Promise.allSettled([cache.get(broken), cache.get(broken)]);
    for (const result of results) {
      expect(result).toMatchObject({ status: "rejected", reason: { code: "image-corrupt" } });
    }
    expect([cache.totalBytes, cache.tensors.length]).toEqual([0, 0]);
    await expect(cache.get(broken)).rejects.toBeInstanceOf(ImageDecodeError);
    await expect(cache.get(new Uint8Array())).rejects.toMatchObject({ code: "image-corrupt" });
  });

  it("lets one of two waiters give up without disturbing the other", async () => {
    const cache = makeCache();
    const file = await drawShapes([{ shape: "cross", color: "green" }], {
      width: 900,
      height: 700,
    });
    const stop = new AbortController();
    const leaving = cache.get(file, stop.signal);
    const staying = cache.get(file);
    setImmediate(() => stop.abort(new Error("changed my mind")));
    await expect(leaving).rejects.toThrow("changed my mind");
    expect((await staying).tensor.sourceWidth).toBe(900);
    expect((await cache.get(file)).hit).toBe(true);
  });

  it("stops when everybody has given up, and works for whoever comes next", async () => {
    const cache = makeCache();
    const file = await drawShapes([{ shape: "cross", color: "green" }], {
      width: 900,
      height: 700,
    });
    const stop = new AbortController();
    const leaving = [cache.get(file, stop.signal), cache.get(file, stop.signal)];
    setImmediate(() => stop.abort(new Error("nobody cares")));
    for (const result of await Promise.allSettled(leaving)) {
      expect(result).toMatchObject({ status: "rejected", reason: { message: "nobody cares" } });
    }
    const { tensor, hit } = await cache.get(file);
    expect([tensor.sourceWidth, hit]).toEqual([900, false]);
    await expect(cache.get(file, AbortSignal.abort(new Error("early")))).rejects.toThrow("early");
  });

  it("works through many pictures, two at a time", async () => {
    const cache = makeCache({ processor: small });
    const results = await Promise.all(
      Array.from({ length: 20 }, (_, level) => cache.get(gray(level))),
    );
    expect(new Set(results.map((result) => result.tensor.key)).size).toBe(20);
  });

  it.each([
    ["1 x 1", 1, 1],
    ["1 x 4000", 1, 4000],
    ["20000 x 10", 20_000, 10],
  ])("makes a usable tensor of %s", async (_, width, height) => {
    const { tensor } = await makeCache().get(writeFlatPng(width, height, 255));
    expect(tensor.imageTokens).toBeGreaterThanOrEqual(1);
    expect(tensor.imageTokens).toBeLessThanOrEqual(512);
    expect(tensor.pixelValues.length).toBe(tensor.gridHeight * tensor.gridWidth * 1536);
    expect(tensor.pixelValues.every((value) => value === 1)).toBe(true);
  });

  it("makes pictures smaller until they fit the budget of tokens, and reads the limits as areas", async () => {
    const file = writeFlatPng(1920, 1080, 9);
    const tokens = async (options: Partial<ImageTensorCacheOptions>) =>
      (await makeCache(options).get(file)).tensor.imageTokens;
    expect(await tokens({ maxImageTokens: 16_384 })).toBe(2040);
    expect(await tokens({ maxImageTokens: 1024 })).toBe(42 * 24);
    expect(await tokens({})).toBeLessThanOrEqual(512);
    expect(await tokens({ maxImageTokens: 4 })).toBeLessThanOrEqual(4);
    expect(await tokens({ processor: { ...processor, maxPixels: 262_144 } })).toBeLessThanOrEqual(
      256,
    );
  });

  it("refuses options that make no sense, saying which", () => {
    expect(() => makeCache({ maxBytes: -1 })).toThrow("Expected `maxBytes` to be an integer >= 0");
    expect(() => makeCache({ maxBytes: Number.POSITIVE_INFINITY })).toThrow("`maxBytes`");
    expect(() => makeCache({ maxImageTokens: 0 })).toThrow("`maxImageTokens`");
    expect(() => makeCache({ alpha: "black" as "white" })).toThrow("`alpha`");
    expect(() => makeCache({ limits: { maxConcurrent: 0 } })).toThrow("`limits.maxConcurrent`");
  });
});
