import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import {
  CACHE_FORMATS,
  type CacheFormat,
  FEW_TOKENS,
} from "../../../src/vlm/convert/cached-attention.ts";
import { convertCheckpoint } from "../../../src/vlm/convert/convert.ts";
import { Decoder } from "../../../src/vlm/engine/decoder.ts";
import type { KvCache } from "../../../src/vlm/engine/kv-cache.ts";
import type { KvSlots } from "../../../src/vlm/engine/kv-slots.ts";
import { type OnnxPackage, openPackage } from "../../../src/vlm/engine/onnx-package.ts";
import { mropePositions } from "../../../src/vlm/text/position-ids.ts";
import { goldenCheckpoint } from "../../support/golden-checkpoint.ts";
import { tempDir } from "../../support/temp-dir.ts";

const CAPACITY = 128;
const decoders = new Map<CacheFormat, Decoder>();
let model: OnnxPackage;

beforeAll(async () => {
  const directory = await tempDir();
  const outputDir = join(directory, "package");
  const checkpointDir = await goldenCheckpoint("tiny-tied", directory);
  await convertCheckpoint({ checkpointDir, outputDir, precision: "fp32" });
  model = await openPackage(outputDir);
  for (const format of CACHE_FORMATS) decoders.set(format, await Decoder.load(model, {}, format));
});

afterAll(async () => {
  for (const decoder of decoders.values()) await decoder.dispose();
});

function of(format: CacheFormat): Decoder {
  return decoders.get(format)!;
}

const IDS = Int32Array.from({ length: CAPACITY }, (_, index) => (37 * index + 11) % 240);

/** Appends tokens of the text `IDS`, from where the slot ends. */
async function append(decoder: Decoder, slot: KvCache, tokens: number): Promise<Float32Array> {
  const from = slot.length;
  const ids = IDS.slice(from, from + tokens);
  const { positions } = mropePositions(tokens, [], { nextPosition: from, length: from });
  const [scores] = await decoder.append({ ids, positions }, slot);
  return scores!.slice();
}

async function decode(decoder: Decoder, slots: readonly KvCache[]): Promise<Float32Array[]> {
  const rows = slots.map((slot) => ({ slot, id: IDS[slot.length]!, position: slot.length }));
  return (await decoder.decode(rows)).map((scores) => scores.slice());
}

/** Largest difference, over the largest of what is expected. */
function error(scores: Float32Array, expected: Float32Array): number {
  let [difference, size] = [0, 0];
  for (const [index, value] of expected.entries()) {
    difference = Math.max(difference, Math.abs(scores[index]! - value));
    size = Math.max(size, Math.abs(value));
  }
  return difference / size;
}

/** Bounds on random weights, which are the worst case: eight bits lose about as much here as those of the weights. */
const BOUNDS = { fp16: 0.005, int8: 0.06 } as const;

describe.each(["fp16", "int8"] as const)("keys and values in %s", (format) => {
  it.each([
    { pieces: [40] },
    { pieces: [5, 5, 30] },
    { pieces: [1, 1, FEW_TOKENS, FEW_TOKENS + 1] },
    { pieces: [40, 40] },
  ])("give the logits of fp32 nearly, in pieces of $pieces", async ({ pieces }) => {
    using slots = of(format).createSlots(1, CAPACITY);
    using exact = of("fp32").createSlots(1, CAPACITY);
    const [slot, reference] = [slots.open(), exact.open()];
    for (const tokens of pieces) {
      const scores = await append(of(format), slot, tokens);
      expect(error(scores, await append(of("fp32"), reference, tokens))).toBeLessThan(
        BOUNDS[format],
      );
    }
    for (let step = 0; step < 3; step++) {
      const [[ours], [theirs]] = [
        await decode(of(format), [slot]),
        await decode(of("fp32"), [reference]),
      ];
      expect(error(ours!, theirs!)).toBeLessThan(BOUNDS[format]);
    }
  });

  it("are those of each sequence in a batch", async () => {
    using slots = of(format).createSlots(3, CAPACITY);
    using alone = of(format).createSlots(1, CAPACITY);
    const batch = [slots.open(), slots.open(), slots.open()];
    for (const [index, slot] of batch.entries()) await append(of(format), slot, 20 + 7 * index);
    const together = await decode(of(format), batch);
    for (const [index, scores] of together.entries()) {
      const slot = alone.open();
      await append(of(format), slot, 20 + 7 * index);
      const [expected] = await decode(of(format), [slot]);
      expect(error(scores, expected!)).toBeLessThan(BOUNDS[format]);
      slot.dispose();
    }
  });

  it("take less memory", () => {
    const share = { fp16: 2, int8: 4 }[format];
    expect(of(format).tokenBytes).toBe(of("fp32").tokenBytes / share);
  });
});

describe("keys and values in int8", () => {
  it("are not approximated within a prompt that is read in one piece", async () => {
    using slots = of("int8").createSlots(1, CAPACITY);
    using exact = of("fp32").createSlots(1, CAPACITY);
    const scores = await append(of("int8"), slots.open(), 60);
    expect(error(scores, await append(of("fp32"), exact.open(), 60))).toBeLessThan(1e-4);
  });

  it("are read and written in one run of a prompt and of those who write", async () => {
    const decoder = of("int8");
    using slots = decoder.createSlots(3, CAPACITY);
    using apart = decoder.createSlots(3, CAPACITY);
    const results: Float32Array[][] = [];
    for (const [pool, joined] of [
      [slots, true],
      [apart, false],
    ] as const) {
      const [first, second, reader] = [pool.open(), pool.open(), pool.open()];
      await append(decoder, first, 20);
      await append(decoder, second, 5);
      const rows = [first, second].map((slot) => ({
        slot,
        id: IDS[slot.length]!,
        position: slot.length,
      }));
      const ids = IDS.slice(0, 30);
      const { positions } = mropePositions(30, [], { nextPosition: 0, length: 0 });
      const scores = joined
        ? await decoder.together!({ ids, positions }, reader, rows)
        : [await append(decoder, reader, 30), ...(await decode(decoder, [first, second]))];
      results.push(scores.map((row) => Float32Array.from(row as Float32Array)));
      expect([first.length, second.length, reader.length]).toEqual([21, 6, 30]);
      results.push(await decode(decoder, [first, second, reader]));
    }
    const [together, after, separately, afterwards] = results;
    for (const [index, scores] of [...together!, ...after!].entries()) {
      const expected = [...separately!, ...afterwards!][index]!;
      expect(error(scores, expected)).toBeLessThan(BOUNDS.int8);
    }
  });

  it("stay what they were when a scale grows, also those that were copied out before", async () => {
    using slots = of("int8").createSlots(3, CAPACITY);
    const slot = slots.open();
    await append(of("int8"), slot, 40);
    const [before] = await decode(of("int8"), [slot]);
    const block = await slot.read(0, 40);
    slot.truncate(40);
    await outgrow(slots, 1.7);
    const [after] = await decode(of("int8"), [slot]);
    expect(error(after!, before!)).toBeLessThan(BOUNDS.int8);

    const copy = slots.open();
    await copy.append(block, 40);
    expect(await copy.read(0, 40)).toEqual(await slot.read(0, 40));
  });

  it("do not grow because of a run that came to nothing", async () => {
    using slots = of("int8").createSlots(1, CAPACITY);
    await append(of("int8"), slots.open(), 40);
    const scales = slots.scales!.read();
    slots.scales!.need(
      scales.map((_, layer) => (layer % 2 ? Number.NaN : Number.POSITIVE_INFINITY)),
    );
    expect(slots.scales!.grow(true)).toEqual([]);
    expect(slots.scales!.read()).toEqual(scales);
  });

  it("are refused by name where a package has no graph for them", async () => {
    const older = { ...model, manifest: { ...model.manifest, cacheDecoders: {} } };
    await expect(Decoder.load(older, {}, "int8")).rejects.toThrow(
      /has no decoder with keys and values in int8\. Convert the checkpoint again, or leave kvPrecision out\./,
    );
  });
});

/** As if a run had needed so many times the scale of every layer. */
async function outgrow(slots: KvSlots, times: number): Promise<void> {
  const scales = slots.scales!;
  scales.need(scales.read().map((scale) => scale * times));
  await slots.settle(false);
}
