// Slots where memory cannot be cut into parts, in memory of the CPU: whoever moves between desk and slab keeps every
// token, and batches compute what each sequence computes by itself.

import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { Precision } from "../../../src/vlm/convert/linear-layers.ts";
import type { VisionPrecision } from "../../../src/vlm/convert/vision-graph.ts";
import { FeatureCache } from "../../../src/vlm/engine/feature-cache.ts";
import type { BoundRows } from "../../../src/vlm/engine/lane-slots.ts";
import { PrefixCache } from "../../../src/vlm/engine/prefix-cache.ts";
import { Random } from "../../../src/vlm/engine/random.ts";
import { WebGpuKvCopies } from "../../../src/vlm/engine/webgpu-kv-copies.ts";
import type { WebGpuSlot } from "../../../src/vlm/engine/webgpu-slot.ts";
import { WebGpuSlots } from "../../../src/vlm/engine/webgpu-slots.ts";
import { DisposedError } from "../../../src/vlm/errors.ts";
import { largestDifference, relativeError } from "../../support/float-error.ts";
import { GOLDEN_NAMES } from "../../support/golden-checkpoint.ts";
import {
  engineOn,
  GoldenModel,
  promptOfCase,
  Script,
  sequenceOf,
} from "../../support/golden-engine.ts";

const [HEADS, WIDTH, CAPACITY] = [2, 4, 12];
const PARTS = ["0.key", "0.value"].map((name) => ({
  name,
  type: "f32" as const,
  heads: HEADS,
  width: WIDTH,
}));
const MIB = 2 ** 20;

const create = async (count: number) =>
  WebGpuSlots.create(await WebGpuKvCopies.load(PARTS, "cpu"), count, CAPACITY);

/** What a run does: writes a token behind those of a lane. */
async function write({ past }: BoundRows, lane: number, token: number, name: number) {
  const bytes = new Uint8Array(new Float32Array(HEADS * WIDTH).fill(name).buffer);
  const headBytes = (CAPACITY + 1) * WIDTH * 4;
  for (const value of Object.values(past)) {
    const first = lane * HEADS * headBytes + token * WIDTH * 4;
    const pieces = { first, stride: headBytes, count: HEADS, byteLength: WIDTH * 4 };
    await value.writePieces(pieces, bytes);
  }
}

/** The name of each token, which all its elements have. */
async function contents(slot: WebGpuSlot): Promise<number[]> {
  if (slot.length === 0) return [];
  const block = await slot.read(0, slot.length);
  const names = block.tables.map((table) => [...table.read()].map(Number));
  block.dispose();
  const tokens = Array.from({ length: slot.length }, (_, token) => {
    const all = names.flatMap((table) =>
      Array.from({ length: HEADS }, (_, head) =>
        table.slice((head * slot.length + token) * WIDTH, (head * slot.length + token + 1) * WIDTH),
      ).flat(),
    );
    expect(new Set(all).size).toBe(1);
    return all[0]!;
  });
  return tokens;
}

describe("slots on WebGPU", () => {
  it.each([1, 2, 4])("keep every token of %d sequences, whatever runs", async (count) => {
    const random = new Random(count);
    const below = (limit: number) => Math.floor(random.next() * limit);
    const slots = await create(count);
    const held = new Map<WebGpuSlot, number[]>();
    let name = 0;
    for (let step = 0; step < 300; step++) {
      const open = [...held.keys()];
      const any = open[below(open.length)];
      const action = below(7);
      if (action === 0 && held.size < count) held.set(slots.open(), []);
      if (!any) continue;
      const tokens = held.get(any)!;
      if (action === 1) {
        any.dispose();
        held.delete(any);
      } else if (action === 2) {
        any.truncate(below(any.length + 1));
        tokens.length = any.length;
      } else if (action === 3 && any.length + 3 <= CAPACITY) {
        const bound = await slots.bindOne(any);
        for (let token = 0; token < 3; token++) {
          await write(bound, 0, any.length + token, ++name);
          tokens.push(name);
        }
        any.grow(3);
      } else if (action === 4) {
        const writers = open.filter(({ length }) => length < CAPACITY && below(2) === 0);
        if (writers.length === 0) continue;
        const bound = await slots.bindLanes(writers);
        for (const [lane, length] of bound.lengths.entries()) await write(bound, lane, length, -1);
        for (const [index, slot] of writers.entries()) {
          await write(bound, bound.lanes[index]!, slot.length, ++name);
          held.get(slot)!.push(name);
          slot.grow(1);
        }
      } else if (action === 5 && any.length > 0) {
        const other = open[below(open.length)]!;
        const block = await any.read(0, any.length);
        const kept = below(2) === 0 ? block : await block.toHost!();
        const part = Math.min(1 + below(any.length), CAPACITY - other.length);
        const copied = tokens.slice(0, part);
        if (part > 0) {
          await other.append(kept, part);
          held.get(other)!.push(...copied);
        }
        block.dispose();
        if (kept !== block) kept.dispose();
      } else {
        expect(await contents(any)).toEqual(tokens);
      }
    }
    for (const [slot, tokens] of held) expect(await contents(slot)).toEqual(tokens);
    await slots.dispose();
    await slots.dispose();
  });

  it("give the places of idle slots to those who write together", async () => {
    const slots = await create(3);
    const [idle, one, two] = [slots.open(), slots.open(), slots.open()];
    idle.parked = true;
    const { lanes, lengths } = await slots.bindLanes([two, one]);
    expect([lanes, lengths]).toEqual([
      [2, 1],
      [0, 0, 0],
    ]);
    expect(idle.disposed).toBe(true);
    expect(slots.open().row).toBe(0);
    await slots.dispose();
  });

  it("let whoever reads stay at the desk while one other writes", async () => {
    const slots = await create(2);
    const [writer, reader] = [slots.open(), slots.open()];
    await slots.bindOne(reader);
    await slots.bindLanes([writer]);
    expect(slots.isAtDesk(reader)).toBe(true);
    reader.parked = true;
    await slots.bindLanes([writer]);
    expect(slots.isAtDesk(writer)).toBe(true);
    await slots.dispose();
  });

  it("refuse what is busy, too much, or over", async () => {
    const slots = await create(2);
    const slot = slots.open();
    const release = slot.occupy();
    expect(() => slot.occupy()).toThrow("in use");
    expect(() => slot.truncate(0)).toThrow("in use");
    release();
    expect(() => slot.truncate(1)).toThrow("from 0 to 0");
    await expect(slot.read(0, 1)).rejects.toThrow("a part of 0 tokens");
    await slots.bindOne(slot);
    slot.grow(2);
    const block = await slot.read(0, 2);
    await expect(slot.append(block, 3)).rejects.toThrow("at most 2 tokens");
    slots.open();
    expect(() => slots.open()).toThrow("All 2 slots are taken");
    slot.dispose();
    expect(() => slot.occupy()).toThrow(DisposedError);
    block.dispose();
    await slots.dispose();
  });
});

/** Relative to the fp32 reference; measured on the CPU: see the pages on devices. Noise is the worst case for few bits. */
const HALF_FORMATS: readonly (readonly [Precision, VisionPrecision, number])[] = [
  ["fp16", "fp32", 0.01],
  ["fp16", "fp16", 0.01],
  ["q4f16", "fp32", 0.65],
  ["q4f16", "fp16", 0.65],
  ["w8a16", "fp32", 0.07],
];

/** Twelve requests of five chats, which read, wait, write together and go on from what is kept. */
async function everyScore(model: GoldenModel, count: number) {
  const slots = await model.decoder.createSlotsOnWebGpu(count, 128);
  const features = new FeatureCache(MIB);
  const prefixes = new PrefixCache({ maxBytes: MIB, blockTokens: 4 });
  const choices = { slots, chunkTokens: 5, features, prefixes };
  const { engine } = engineOn(model, choices);
  const found = await Promise.all(
    Array.from({ length: 12 }, async (_, index) => {
      const golden = model.cases[index % model.cases.length]!;
      const reader = new Script(golden.greedyTokens.slice(0, golden.decodeLogits.length));
      const chat = `chat ${index % 5}`;
      await engine.run(sequenceOf(promptOfCase(golden), { reader, chat }));
      const expected = [golden.logits.subarray(-256), ...golden.decodeLogits];
      return expected.map((row, step) => [reader.scores[step]!, row] as const);
    }),
  );
  await engine.close();
  await slots.dispose();
  return found.flat();
}

describe("a decoder with such slots", () => {
  let model: GoldenModel;
  beforeAll(async () => {
    model = await GoldenModel.load("tiny-tied");
  });
  afterAll(() => model.dispose());

  it.each([1, 2, 5])("has the reference's logits for many chats in %d slots", async (count) => {
    for (const [scores, row] of await everyScore(model, count)) {
      expect(largestDifference(scores, row)).toBeLessThan(1e-4);
    }
  });
});

describe.each(GOLDEN_NAMES)("WebGPU's graphs of %s in 16 bits, on the CPU", (name) => {
  it.each(HALF_FORMATS)("have the reference's logits in %s with eyes in %s", async (...format) => {
    const [precision, visionPrecision, limit] = format;
    const model = await GoldenModel.load(name, { precision, visionPrecision, device: "webgpu" });
    for (const count of [1, 3]) {
      for (const [scores, row] of await everyScore(model, count)) {
        expect(relativeError(scores, row)).toBeLessThan(limit);
      }
    }
    await model.dispose();
  });
});
