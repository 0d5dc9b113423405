// Both golden checkpoints through the real converter and the real engine, against the reference's fp32 values.

import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { Decoder } from "../../../src/vlm/engine/decoder.ts";
import type { DecoderInput, PlacedFeatures } from "../../../src/vlm/engine/decoder-backend.ts";
import type { KvCache } from "../../../src/vlm/engine/kv-cache.ts";
import { VisionEncoder, type VisionFeatures } from "../../../src/vlm/engine/vision-encoder.ts";
import { type ImageSpan, mropePositions } from "../../../src/vlm/text/position-ids.ts";
import { openCache, prefill, step } from "../../support/chunks.ts";
import { largestDifference } from "../../support/float-error.ts";
import { GOLDEN_NAMES, type GoldenCase, goldenCases } from "../../support/golden-checkpoint.ts";
import { goldenPackage } from "../../support/golden-package.ts";

// A float64 implementation of the specification is within 9.3e-6 of these values (spec section 10).
const TOLERANCE = 1e-4;
const CAPACITY = 64;
const IMAGE_TOKEN = 250;

describe.each(GOLDEN_NAMES)("the golden checkpoint %s", (name) => {
  let cases: GoldenCase[];
  let encoder: VisionEncoder;
  let decoder: Decoder;
  let cache: KvCache;

  beforeAll(async () => {
    const model = await goldenPackage(name, { precision: "fp32" });
    [cases, encoder, decoder] = await Promise.all([
      goldenCases(name),
      VisionEncoder.load(model),
      Decoder.load(model),
    ]);
    cache = openCache(decoder, CAPACITY);
  });

  afterAll(() => Promise.all([encoder.dispose(), decoder.dispose()]));

  /** One run of the vision encoder per picture. */
  async function encodePictures(golden: GoldenCase): Promise<VisionFeatures[]> {
    const features: VisionFeatures[] = [];
    let firstPatch = 0;
    for (const [, gridHeight, gridWidth] of golden.grids) {
      const end = firstPatch + gridHeight * gridWidth;
      const pixelValues = golden.pixelValues.subarray(firstPatch * 1536, end * 1536);
      features.push(await encoder.encode({ pixelValues, gridHeight, gridWidth }));
      firstPatch = end;
    }
    return features;
  }

  async function decoderInput(
    golden: GoldenCase,
  ): Promise<DecoderInput & { nextPosition: number }> {
    const spans: ImageSpan[] = [];
    const images: PlacedFeatures[] = [];
    const features = await encodePictures(golden);
    let from = 0;
    for (const [index, [, gridHeight, gridWidth]] of golden.grids.entries()) {
      const start = golden.inputIds.indexOf(IMAGE_TOKEN, from);
      spans.push({ start, rows: gridHeight / 2, columns: gridWidth / 2 });
      images.push({ start, features: features[index]! });
      from = start + features[index]!.tokens;
    }
    const { positions, nextPosition } = mropePositions(golden.inputIds.length, spans);
    return { ids: Int32Array.from(golden.inputIds), positions, images, nextPosition };
  }

  const forEachCase = async (check: (golden: GoldenCase) => Promise<void>) => {
    expect(cases.map((golden) => golden.name)).toEqual([
      "text",
      "one_image",
      "two_images",
      "image_first",
      "odd_grid",
    ]);
    for (const golden of cases) await check(golden);
  };

  it("has the reference's image features and DeepStack features", () =>
    forEachCase(async (golden) => {
      if (golden.grids.length === 0) return;
      const features = await encodePictures(golden);
      const image = features.flatMap(({ imageFeatures }) => [...imageFeatures]);
      expect(largestDifference(image, golden.imageFeatures)).toBeLessThan(TOLERANCE);
      for (const [tap, expected] of golden.deepstack.entries()) {
        const rows = features.flatMap(({ deepstack, imageFeatures }) => [
          ...deepstack.subarray(tap * imageFeatures.length, (tap + 1) * imageFeatures.length),
        ]);
        expect(largestDifference(rows, expected)).toBeLessThan(TOLERANCE);
      }
      expect(features[0]!.deepstack).toHaveLength(
        golden.deepstack.length * features[0]!.imageFeatures.length,
      );
    }));

  it("has the reference's positions", () =>
    forEachCase(async (golden) => {
      const { positions, nextPosition } = await decoderInput(golden);
      expect([...positions]).toEqual(golden.positionIds.flat());
      expect(nextPosition - golden.inputIds.length).toBe(golden.ropeDelta);
    }));

  // 1000: the whole prompt in one run. 5: pictures are cut in the middle. 1: every token is appended alone.
  it.each([1000, 5, 1])("has the reference's logits, prefilled in chunks of %d", (chunkTokens) =>
    forEachCase(async (golden) => {
      const input = await decoderInput(golden);
      cache.clear();
      const logits = await prefill(decoder, input, cache, { logitRows: "all", chunkTokens });
      expect(largestDifference(logits, golden.logits)).toBeLessThan(TOLERANCE);
      expect(cache.length).toBe(golden.inputIds.length);

      let next = argmax(logits.subarray(-256));
      for (const [index, expected] of golden.decodeLogits.entries()) {
        expect(next).toBe(golden.greedyTokens[index]);
        const row = await step(decoder, next, input.nextPosition + index, cache);
        expect(largestDifference(row, expected)).toBeLessThan(TOLERANCE);
        next = argmax(row);
      }
    }),
  );

  // Sequences of different lengths, some of which end before the others and leave a gap to be closed.
  it.each([1, 2, 3, 5, 8])(
    "has the reference's logits for %d sequences decoded together",
    async (count) => {
      using slots = decoder.createSlots(count + 1, CAPACITY);
      const spectator = slots.open();
      const running: { golden: GoldenCase; slot: KvCache; position: number; steps: number }[] = [];
      for (let index = 0; index < count; index++) {
        const golden = cases[index % cases.length]!;
        const slot = slots.open();
        const input = await decoderInput(golden);
        await prefill(decoder, input, slot, { chunkTokens: 5 });
        // The second of two that ask the same ends first.
        const steps = golden.decodeLogits.length - (index >= cases.length ? 2 : index % 2);
        running.push({ golden, slot, position: input.nextPosition, steps });
      }
      const other = await decoderInput(cases[0]!);
      const expected = await prefill(decoder, other, spectator);
      for (let step = 0; running.length > 0; step++) {
        const rows = running.map(({ golden, slot, position }) => ({
          slot,
          id: golden.greedyTokens[step]!,
          position: position + step,
        }));
        const scores = await decoder.decode(rows);
        for (const [index, { golden }] of running.entries()) {
          const difference = largestDifference(scores[index]!, golden.decodeLogits[step]!);
          expect(difference).toBeLessThan(TOLERANCE);
        }
        for (const ended of running.filter(({ steps }) => step + 1 >= steps)) {
          ended.slot.dispose();
          running.splice(running.indexOf(ended), 1);
        }
      }
      // Whoever had to make room for the batch has kept everything.
      spectator.truncate(spectator.length - 1);
      const last = other.ids.length - 1;
      const again = await step(decoder, other.ids[last]!, other.positions[last]!, spectator);
      expect(largestDifference(again, expected)).toBeLessThan(TOLERANCE);
    },
  );

  it("gives the last row alone when that is all that is wanted", () =>
    forEachCase(async (golden) => {
      cache.clear();
      const input = await decoderInput(golden);
      const logits = await prefill(decoder, input, cache, { chunkTokens: 7 });
      expect(largestDifference(logits, golden.logits.subarray(-256))).toBeLessThan(TOLERANCE);
    }));

  it("goes on from a cache cut back to any length, also in the middle of a picture", () =>
    forEachCase(async (golden) => {
      const input = await decoderInput(golden);
      const tokens = input.ids.length;
      cache.clear();
      await prefill(decoder, input, cache);
      for (let kept = tokens - 1; kept > 0; kept -= 2) {
        cache.truncate(kept);
        const rest = {
          ids: input.ids.subarray(kept),
          positions: Int32Array.from(
            [0, 1, 2].flatMap((axis) => [
              ...input.positions.subarray(axis * tokens + kept, (axis + 1) * tokens),
            ]),
          ),
          images: (input.images ?? [])
            .map(({ start, features }) => ({ start: start - kept, features }))
            .filter(({ start, features }) => start + features.tokens > 0),
        };
        const logits = await prefill(decoder, rest, cache, { chunkTokens: 4 });
        expect(largestDifference(logits, golden.logits.subarray(-256))).toBeLessThan(TOLERANCE);
      }
    }));

  it("never reads what lies beyond the length of the cache", async () => {
    const golden = cases.find(({ name }) => name === "one_image")!;
    const input = await decoderInput(golden);
    const poison: VisionFeatures = {
      tokens: CAPACITY,
      imageFeatures: new Float32Array(CAPACITY * 64).fill(Number.NaN),
      deepstack: new Float32Array(golden.deepstack.length * CAPACITY * 64).fill(Number.NaN),
      byteLength: 0,
    };
    cache.clear();
    const poisoned = await prefill(
      decoder,
      {
        ids: new Int32Array(CAPACITY),
        positions: new Int32Array(3 * CAPACITY),
        images: [{ start: 0, features: poison }],
      },
      cache,
    );
    expect(poisoned[0]).toBeNaN();
    cache.clear();
    const logits = await prefill(decoder, input, cache, { logitRows: "all", chunkTokens: 5 });
    expect(largestDifference(logits, golden.logits)).toBeLessThan(TOLERANCE);
  });
});

function argmax(logits: Float32Array): number {
  return logits.indexOf(Math.max(...logits));
}
