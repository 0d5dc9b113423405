// The decoder for graphics cards on the CPU, whose kernels take 16-bit numbers or are given casts: the same graph but for
// the norms and rotations that only a card does inside its attention. Compared with the goldens at the tolerance of 16 bits.

import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { Scores, TopScores } from "../../../src/vlm/engine/decoder-backend.ts";
import { sliceInput } from "../../../src/vlm/engine/decoder-input.ts";
import { DeviceDecoder } from "../../../src/vlm/engine/device-decoder.ts";
import type { DeviceSlots } from "../../../src/vlm/engine/device-slots.ts";
import { VisionEncoder } from "../../../src/vlm/engine/vision-encoder.ts";
import { mropePositions } from "../../../src/vlm/text/position-ids.ts";
import { relativeError } from "../../support/float-error.ts";
import { GOLDEN_NAMES, type GoldenCase, goldenCases } from "../../support/golden-checkpoint.ts";
import { goldenPackage } from "../../support/golden-package.ts";

const CAPACITY = 64;
const IMAGE_TOKEN = 250;
/** Of the fp32 reference; measured: see the pages on devices. */
const LIMITS = { fp16: 0.01, q4f16: 0.65, w8a16: 0.07 } as const;

describe.each(GOLDEN_NAMES)("the device decoder of %s", (name) => {
  describe.each(["fp16", "q4f16", "w8a16"] as const)("in %s", (precision) => {
    let cases: GoldenCase[];
    let encoder: VisionEncoder;
    let decoder: DeviceDecoder;
    let slots: DeviceSlots;

    beforeAll(async () => {
      const model = await goldenPackage(name, { precision, device: "cpu" });
      cases = await goldenCases(name);
      encoder = await VisionEncoder.load(model);
      decoder = await DeviceDecoder.load(model);
      slots = await decoder.createSlots(4, CAPACITY);
    });

    afterAll(async () => {
      await decoder.dispose();
      await encoder.dispose();
    });

    async function inputOf(golden: GoldenCase) {
      const spans = [];
      const images = [];
      let firstPatch = 0;
      let from = 0;
      for (const [, gridHeight, gridWidth] of golden.grids) {
        const end = firstPatch + gridHeight * gridWidth;
        const pixelValues = golden.pixelValues.subarray(firstPatch * 1536, end * 1536);
        const features = await encoder.encode({ pixelValues, gridHeight, gridWidth });
        const start = golden.inputIds.indexOf(IMAGE_TOKEN, from);
        spans.push({ start, rows: gridHeight / 2, columns: gridWidth / 2 });
        images.push({ start, features });
        from = start + features.tokens;
        firstPatch = end;
      }
      const { positions, nextPosition } = mropePositions(golden.inputIds.length, spans);
      return { ids: Int32Array.from(golden.inputIds), positions, images, nextPosition };
    }

    const all = async (scores: readonly Scores[]) => {
      const rows = await Promise.all(scores.map((row) => (row as TopScores).full()));
      return rows.flatMap((row) => [...row]);
    };

    it.each([1000, 5])("has the reference's logits, in chunks of %d", async (chunk) => {
      for (const golden of cases) {
        const input = await inputOf(golden);
        const slot = slots.open();
        const logits: number[] = [];
        for (let start = 0; start < input.ids.length; start += chunk) {
          const part = sliceInput(input, start, Math.min(start + chunk, input.ids.length));
          logits.push(...(await all(await decoder.append(part, slot, { scores: "all" }))));
        }
        expect(relativeError(logits, golden.logits)).toBeLessThan(LIMITS[precision]);
        for (const [step, expected] of golden.decodeLogits.entries()) {
          const id = golden.greedyTokens[step]!;
          const position = input.nextPosition + step;
          const [scores] = await decoder.decode([{ slot, id, position }]);
          const row = await (scores as TopScores).full();
          expect(relativeError([...row], expected)).toBeLessThan(LIMITS[precision]);
        }
        slot.dispose();
      }
    });

    it("writes text after a run of a single token of a picture, in the very same buffers", async () => {
      const input = await inputOf(cases.find(({ grids }) => grids.length > 0)!);
      const [first] = input.images;
      const [reader, writer] = [slots.open(), slots.open()];
      const question = { ids: input.ids.slice(0, 2), positions: Int32Array.of(0, 1, 0, 1, 0, 1) };
      await decoder.append(question, writer);
      const write = async () => {
        const [scores] = await decoder.decode([{ slot: writer, id: 7, position: 2 }]);
        const row = await (scores as TopScores).full();
        writer.truncate(2);
        return row;
      };
      const expected = await write();
      const single = sliceInput(input, first!.start, first!.start + 1);
      await decoder.append(single, reader);
      expect(await write()).toEqual(expected);
      reader.dispose();
      writer.dispose();
    });
  });
});
