// Packages of other programs on the golden checkpoints, against the reference's fp32 values: what mobius exported has
// DeepStack and must agree with all of it; the onnx-community layout has none, and must agree with the reference without.

import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { convertCheckpoint } from "../../../src/vlm/convert/convert.ts";
import type { Precision } from "../../../src/vlm/convert/linear-layers.ts";
import { Decoder } from "../../../src/vlm/engine/decoder.ts";
import type {
  DecoderInput,
  PlacedFeatures,
  Scores,
} from "../../../src/vlm/engine/decoder-backend.ts";
import { sliceInput } from "../../../src/vlm/engine/decoder-input.ts";
import type { GrowingDecoder } from "../../../src/vlm/engine/growing-decoder.ts";
import type { GrowingSlot } from "../../../src/vlm/engine/growing-slot.ts";
import type { GrowingSlots } from "../../../src/vlm/engine/growing-slots.ts";
import type { Backend } from "../../../src/vlm/engine/load-backend.ts";
import { loadForeign } from "../../../src/vlm/engine/load-foreign.ts";
import { openPackage } from "../../../src/vlm/engine/onnx-package.ts";
import type { VisionFeatures } from "../../../src/vlm/engine/vision-encoder.ts";
import { InferenceError } from "../../../src/vlm/errors.ts";
import { findForeignFiles } from "../../../src/vlm/foreign/foreign-files.ts";
import { openForeignPackage } from "../../../src/vlm/foreign/foreign-package.ts";
import { type ImageSpan, mropePositions } from "../../../src/vlm/text/position-ids.ts";
import { communityPackage } from "../../support/community-package.ts";
import { largestDifference } from "../../support/float-error.ts";
import { type GoldenCase, goldenCases, goldenCheckpoint } from "../../support/golden-checkpoint.ts";
import { GoldenModel, IMAGE_TOKEN, picturesOf } from "../../support/golden-engine.ts";
import { mobiusPackage } from "../../support/mobius-package.ts";
import { tempDir } from "../../support/temp-dir.ts";

const TOLERANCE = 1e-4;
const CAPACITY = 64;
const VOCABULARY = 256;
const WHOLE = 1000;

interface Loaded extends Omit<Backend, "decoder" | "slots"> {
  readonly decoder: GrowingDecoder;
  readonly slots: GrowingSlots;
  dispose(): Promise<void>;
}

async function load(directory: string, precision?: Precision): Promise<Loaded> {
  const files = await findForeignFiles(directory);
  const disposals: (() => Promise<void> | void)[] = [];
  const backend = await loadForeign(
    await openForeignPackage(files!, { device: "cpu", precision, visionPrecision: undefined }),
    {
      session: { threads: 1 },
      contextTokens: CAPACITY,
      maxConcurrent: 6,
      deviceMemoryBytes: undefined,
      captureGraphs: false,
      onPart: () => {},
      onMade: (dispose) => disposals.push(dispose),
    },
  );
  return {
    ...backend,
    decoder: backend.decoder as GrowingDecoder,
    slots: backend.slots as GrowingSlots,
    dispose: async () => {
      for (const dispose of disposals.toReversed()) await dispose();
    },
  };
}

type Input = DecoderInput & { readonly nextPosition: number };

async function inputOf(
  golden: GoldenCase,
  encode: (picture: ReturnType<typeof picturesOf>[number]) => Promise<VisionFeatures>,
): Promise<Input> {
  const spans: ImageSpan[] = [];
  const images: PlacedFeatures[] = [];
  let from = 0;
  for (const picture of picturesOf(golden)) {
    const start = golden.inputIds.indexOf(IMAGE_TOKEN, from);
    spans.push({ start, rows: picture.gridHeight / 2, columns: picture.gridWidth / 2 });
    images.push({ start, features: await encode(picture) });
    from = start + picture.imageTokens;
  }
  const { positions, nextPosition } = mropePositions(golden.inputIds.length, spans);
  return { ids: Int32Array.from(golden.inputIds), positions, images, nextPosition };
}

/** Logits of every token, (tokens * vocabulary). */
async function read(
  { decoder }: Pick<Loaded, "decoder">,
  input: DecoderInput,
  slot: GrowingSlot,
  chunkTokens = WHOLE,
): Promise<number[]> {
  const rows: number[] = [];
  for (let start = 0; start < input.ids.length; start += chunkTokens) {
    const end = Math.min(start + chunkTokens, input.ids.length);
    for (const scores of await decoder.append(sliceInput(input, start, end), slot, {
      scores: "all",
    })) {
      rows.push(...scores);
    }
  }
  return rows;
}

function rest(input: DecoderInput, kept: number): DecoderInput {
  return sliceInput(input, kept, input.ids.length);
}

const lastRow = (rows: readonly number[]) => rows.slice(-VOCABULARY);
const copyOf = (scores: readonly Scores[]) => [...(scores[0] as Float32Array)];

describe("a package that mobius exported", () => {
  let cases: GoldenCase[];
  let model: Loaded;

  beforeAll(async () => {
    cases = await goldenCases("tiny-tied");
    model = await load(await mobiusPackage("tiny-tied", await tempDir()));
  });
  afterAll(() => model.dispose());

  const prompt = (golden: GoldenCase) =>
    inputOf(golden, (picture) => model.visionEncoder.encode(picture));
  const caseOf = (name: string) => cases.find((golden) => golden.name === name)!;

  it("is whole", () => {
    expect(model.warnings).toEqual([]);
    expect(model.decoder.hasDeepstack).toBe(true);
  });

  it("has the reference's image features and DeepStack features", async () => {
    for (const golden of cases.filter(({ grids }) => grids.length > 0)) {
      const features = ((await prompt(golden)).images ?? []).map((image) => image.features);
      const image = features.flatMap(({ imageFeatures }) => [...imageFeatures]);
      expect(largestDifference(image, golden.imageFeatures)).toBeLessThan(TOLERANCE);
      for (const [tap, expected] of golden.deepstack.entries()) {
        const rows = features.flatMap(({ deepstack, imageFeatures }) => [
          ...deepstack.subarray(tap * imageFeatures.length, (tap + 1) * imageFeatures.length),
        ]);
        expect(largestDifference(rows, expected)).toBeLessThan(TOLERANCE);
      }
    }
  });

  // 1000: the whole prompt in one run. 5: pictures are cut in the middle. 1: every token is appended alone.
  it.each([WHOLE, 5, 1])("has the reference's logits, read in chunks of %d", async (chunk) => {
    expect(cases).toHaveLength(5);
    for (const golden of cases) {
      const input = await prompt(golden);
      const slot = model.slots.open();
      const rows = await read(model, input, slot, chunk);
      expect(largestDifference(rows, golden.logits)).toBeLessThan(TOLERANCE);
      for (const [index, expected] of golden.decodeLogits.entries()) {
        const id = golden.greedyTokens[index]!;
        const position = input.nextPosition + index;
        const [scores] = await model.decoder.decode([{ slot, id, position }]);
        expect(largestDifference(scores!, expected)).toBeLessThan(TOLERANCE);
      }
      expect(slot.length).toBe(input.ids.length + golden.decodeLogits.length);
      slot.dispose();
    }
  });

  it("decodes several sequences of different lengths, each as if it were alone", async () => {
    const running = await Promise.all(
      cases.map(async (golden) => ({
        golden,
        input: await prompt(golden),
        slot: model.slots.open(),
      })),
    );
    for (const { input, slot } of running) await read(model, input, slot);
    for (let step = 0; step < 3; step++) {
      const scores = await model.decoder.decode(
        running.map(({ golden, input, slot }) => ({
          slot,
          id: golden.greedyTokens[step]!,
          position: input.nextPosition + step,
        })),
      );
      for (const [index, { golden }] of running.entries()) {
        const difference = largestDifference(scores[index]!, golden.decodeLogits[step]!);
        expect(difference).toBeLessThan(TOLERANCE);
      }
    }
    for (const { slot } of running) slot.dispose();
  });

  it("goes on from a slot cut back to any length, also in the middle of a picture", async () => {
    for (const golden of cases) {
      const input = await prompt(golden);
      const slot = model.slots.open();
      await read(model, input, slot);
      for (let kept = input.ids.length - 1; kept > 0; kept -= 2) {
        slot.truncate(kept);
        const rows = await read(model, rest(input, kept), slot, 4);
        expect(largestDifference(rows, golden.logits.subarray(kept * VOCABULARY))).toBeLessThan(
          TOLERANCE,
        );
      }
      slot.dispose();
    }
  });

  it("goes on from blocks copied out of another slot, cut wherever", async () => {
    const golden = caseOf("two_images");
    const input = await prompt(golden);
    const from = model.slots.open();
    await read(model, input, from);
    for (const [first, second] of [
      [4, 9],
      [7, 3],
      [1, 1],
    ] as const) {
      const to = model.slots.open();
      await to.append(await from.read(0, first + 2), first);
      await to.append(await from.read(first, first + second), second);
      // A block of which less is wanted after all.
      const kept = first + second - 1;
      to.truncate(kept);
      expect(to.length).toBe(kept);
      const rows = await read(model, rest(input, kept), to, 6);
      expect(largestDifference(lastRow(rows), golden.logits.subarray(-VOCABULARY))).toBeLessThan(
        TOLERANCE,
      );
      to.dispose();
    }
    from.dispose();
  });

  it("leaves slots as they were when a run is aborted or refused", async () => {
    const golden = caseOf("one_image");
    const input = await prompt(golden);
    const [one, other] = [model.slots.open(), model.slots.open()];
    const expected = lastRow(await read(model, input, one));
    await read(model, rest(input, 0), other);
    const aborted = AbortSignal.abort(new Error("enough"));
    const step = (slot: GrowingSlot) => ({ slot, id: 3, position: input.nextPosition });
    await expect(
      model.decoder.decode([step(one), step(other)], { signal: aborted }),
    ).rejects.toThrow("enough");
    // The second row fails, the first one has been computed by then.
    const gone = model.slots.open();
    gone.dispose();
    await expect(model.decoder.decode([step(one), step(gone)])).rejects.toThrow("disposed");
    expect([one.length, other.length]).toEqual([input.ids.length, input.ids.length]);
    one.truncate(one.length - 1);
    const again = await read(model, rest(input, input.ids.length - 1), one);
    expect(largestDifference(again, expected)).toBeLessThan(TOLERANCE);
    one.dispose();
    other.dispose();
  });

  it("refuses what does not fit, and gives places back", async () => {
    const golden = caseOf("text");
    const input = await prompt(golden);
    const slots = Array.from({ length: model.slots.count }, () => model.slots.open());
    expect(() => model.slots.open()).toThrow(RangeError);
    const [slot] = slots;
    const many = {
      ids: new Int32Array(CAPACITY + 1),
      positions: new Int32Array(3 * (CAPACITY + 1)),
    };
    await expect(model.decoder.append(many, slot!)).rejects.toThrow(InferenceError);
    expect(slot!.length).toBe(0);
    expect(() => slot!.truncate(1)).toThrow(RangeError);
    await read(model, input, slot!);
    const block = await slot!.read(0, 2);
    await expect(slot!.append(block, 3)).rejects.toThrow(RangeError);
    await expect(slot!.read(0, slot!.length + 1)).rejects.toThrow(RangeError);
    for (const each of slots) each.dispose();
    model.slots.open().dispose();
  });

  it("never reads what an earlier sequence left in the memory", async () => {
    const golden = caseOf("one_image");
    const input = await prompt(golden);
    const count = 40;
    const poison: VisionFeatures = {
      tokens: count,
      imageFeatures: new Float32Array(count * 64).fill(Number.NaN),
      deepstack: new Float32Array(golden.deepstack.length * count * 64).fill(Number.NaN),
      byteLength: 0,
    };
    for (let slot = 0; slot < model.slots.count; slot++) {
      const poisoned = model.slots.open();
      const ids = new Int32Array(count);
      const images = [{ start: 0, features: poison }];
      const scores = await model.decoder.append(
        { ids, positions: new Int32Array(3 * count), images },
        poisoned,
      );
      expect(copyOf(scores)[0]).toBeNaN();
      poisoned.dispose();
      const clean = model.slots.open();
      const rows = await read(model, input, clean, 5);
      expect(largestDifference(rows, golden.logits)).toBeLessThan(TOLERANCE);
      clean.dispose();
    }
  });
});

describe("a package that mobius exported in 16 bits", () => {
  it("has the reference's logits, as far as 16 bits go", async () => {
    const model = await load(await mobiusPackage("tiny-tied-f16", await tempDir()));
    try {
      expect(model.warnings).toEqual([]);
      for (const golden of await goldenCases("tiny-tied")) {
        const input = await inputOf(golden, (picture) => model.visionEncoder.encode(picture));
        const slot = model.slots.open();
        const rows = await read(model, input, slot, 5);
        expect(relativeError(rows, golden.logits)).toBeLessThan(0.01);
        slot.dispose();
      }
    } finally {
      await model.dispose();
    }
  });
});

describe("a package in the layout of onnx-community", () => {
  let cases: GoldenCase[];
  let reference: GoldenModel;
  let directory: string;

  beforeAll(async () => {
    cases = await goldenCases("tiny-tied");
    reference = await GoldenModel.load("tiny-tied");
    const parent = await tempDir();
    directory = await communityPackage(await goldenCheckpoint("tiny-tied", parent), parent, {
      decoders: ["fp32", "w8a8", "q4"],
    });
  });
  afterAll(() => reference.dispose());

  /** The reference's eyes, with nothing for the decoder's first layers. */
  async function withoutDeepstack(golden: GoldenCase): Promise<Input> {
    return inputOf(golden, async (picture) => {
      const features = await reference.encoder.encode(picture);
      return { ...features, deepstack: new Float32Array(features.deepstack.length) };
    });
  }

  async function plainLogits(golden: GoldenCase): Promise<number[]> {
    using slots = reference.decoder.createSlots(1, CAPACITY);
    const scores = await reference.decoder.append(await withoutDeepstack(golden), slots.open(), {
      scores: "all",
    });
    return scores.flatMap((row) => [...row]);
  }

  it.each([WHOLE, 5, 1])(
    "has the logits of the reference without DeepStack, read in chunks of %d",
    async (chunk) => {
      const model = await load(directory, "fp32");
      try {
        for (const golden of cases) {
          const input = await inputOf(golden, (picture) => model.visionEncoder.encode(picture));
          const expected = await plainLogits(golden);
          const slot = model.slots.open();
          const rows = await read(model, input, slot, chunk);
          expect(largestDifference(rows, expected)).toBeLessThan(TOLERANCE);
          // It is another model than the published one, wherever there is a picture.
          const difference = largestDifference(rows, golden.logits);
          if (golden.grids.length === 0) expect(difference).toBeLessThan(TOLERANCE);
          else expect(difference).toBeGreaterThan(100 * TOLERANCE);
          slot.dispose();
        }
      } finally {
        await model.dispose();
      }
    },
  );

  it("says once and loudly that DeepStack is missing", async () => {
    const model = await load(directory);
    expect(model.warnings).toHaveLength(1);
    expect(model.warnings?.[0]).toMatch(/^DEEPSTACK IS MISSING from community: .*onnx-community/);
    await model.dispose();
  });

  it("computes int8 weights within their own error", async () => {
    const model = await load(directory, "w8a8");
    try {
      const golden = cases.find(({ name }) => name === "two_images")!;
      const input = await inputOf(golden, (picture) => model.visionEncoder.encode(picture));
      const rows = await read(model, input, model.slots.open(), 5);
      expect(relativeError(rows, await plainLogits(golden))).toBeLessThan(0.05);
    } finally {
      await model.dispose();
    }
  });

  it("computes 4-bit weights as our own package of them does", async () => {
    const parent = await tempDir();
    const outputDir = join(parent, "package");
    await convertCheckpoint({
      checkpointDir: await goldenCheckpoint("tiny-tied", parent),
      outputDir,
      precision: "q4",
      int8Weights: "s8",
    });
    const own = await Decoder.load(await openPackage(outputDir));
    const model = await load(directory, "q4");
    try {
      const slot = model.slots.open();
      for (const golden of cases) {
        const input = await withoutDeepstack(golden);
        using slots = own.createSlots(1, CAPACITY);
        const scores = await own.append(input, slots.open(), { scores: "all" });
        const rows = await read(model, input, slot);
        const expected = scores.flatMap((row) => [...row]);
        expect(largestDifference(rows, expected)).toBeLessThan(TOLERANCE);
        slot.truncate(0);
      }
    } finally {
      await Promise.all([own.dispose(), model.dispose()]);
    }
  });
});

function relativeError(actual: readonly number[], expected: Iterable<number>): number {
  let [errors, squares] = [0, 0];
  for (const [index, value] of [...expected].entries()) {
    errors += (actual[index]! - value) ** 2;
    squares += value ** 2;
  }
  return Math.sqrt(errors / squares);
}
