// Kept prefixes between a device and the host: first there, then here, then forgotten; what is used comes back. With
// blocks that are fakes, and with the slots of a card and of WebGPU in memory of the CPU.

import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { KvBlock, KvSlot } from "../../../src/vlm/engine/decoder-backend.ts";
import { FeatureCache } from "../../../src/vlm/engine/feature-cache.ts";
import { PrefixCache } from "../../../src/vlm/engine/prefix-cache.ts";
import { TokenContent } from "../../../src/vlm/engine/token-content.ts";
import { largestDifference } from "../../support/float-error.ts";
import {
  engineOn,
  GoldenModel,
  promptOfCase,
  Script,
  sequenceOf,
} from "../../support/golden-engine.ts";

const BLOCK = 4;
const BLOCK_BYTES = 1000;
/** With the bookkeeping of the cache. */
const SIZE = BLOCK_BYTES + 1024;
const NOBODY = { chat: undefined };

/** A slot that holds whole prompts, and remembers what was made of them. */
class FakeSlot implements KvSlot {
  readonly capacity = 100;
  readonly disposed = false;
  length = 0;
  /** Blocks that hold memory, by where it is. */
  readonly live = { device: 0, host: 0 };
  readonly appended: string[] = [];
  refusesToHost = false;

  truncate(length: number): void {
    this.length = length;
  }

  async read(start: number, end: number): Promise<KvBlock> {
    const toHost = async () => {
      if (this.refusesToHost) throw new Error("no memory");
      return this.#block("host", end - start);
    };
    return { ...this.#block("device", end - start), toHost };
  }

  async append(block: KvBlock, tokens: number): Promise<void> {
    this.appended.push(block.toHost ? "device" : "host");
    this.length += tokens;
  }

  dispose(): void {}

  #block(where: "device" | "host", tokens: number): KvBlock {
    this.live[where]++;
    return { tokens, byteLength: BLOCK_BYTES, dispose: () => this.live[where]-- };
  }
}

/** Two blocks, of which no other name has any. */
const prompt = (name: number) =>
  new TokenContent(
    Int32Array.from({ length: 2 * BLOCK }, (_, index) => 100 * name + index),
    [],
  );

const cacheOf = (device: number, host: number) =>
  new PrefixCache({ maxBytes: device * SIZE, maxHostBytes: host * SIZE, blockTokens: BLOCK });

async function remember(cache: PrefixCache, slot: FakeSlot, name: number): Promise<void> {
  slot.length = 2 * BLOCK;
  await cache.remember(prompt(name), slot, NOBODY);
}

async function restore(cache: PrefixCache, slot: FakeSlot, name: number): Promise<number> {
  slot.length = 0;
  await cache.restore(prompt(name), slot, 2 * BLOCK, NOBODY);
  return slot.length;
}

describe("prefixes of a device", () => {
  it("go to the host when the device is full, and are forgotten when both are", async () => {
    const [cache, slot] = [cacheOf(2, 4), new FakeSlot()];
    for (const name of [1, 2, 3, 4]) await remember(cache, slot, name);
    expect(slot.live).toEqual({ device: 2, host: 4 });
    expect([cache.totalBytes, cache.hostBytes]).toEqual([6 * SIZE, 4 * SIZE]);
    expect(await restore(cache, slot, 1)).toBe(0);
    for (const name of [2, 3, 4]) expect(await restore(cache, slot, name)).toBe(2 * BLOCK);
    expect(slot.appended).toEqual(["host", "host", "host", "host", "device", "device"]);
    cache.clear();
    expect(slot.live).toEqual({ device: 0, host: 0 });
    expect([cache.totalBytes, cache.hostBytes]).toEqual([0, 0]);
  });

  it("come back to the device when they are used, and others go", async () => {
    const [cache, slot] = [cacheOf(2, 2), new FakeSlot()];
    for (const name of [1, 2]) await remember(cache, slot, name);
    await restore(cache, slot, 1);
    await remember(cache, slot, 1);
    slot.appended.length = 0;
    await restore(cache, slot, 1);
    await restore(cache, slot, 2);
    expect(slot.appended).toEqual(["device", "device", "host", "host"]);
    expect(slot.live).toEqual({ device: 2, host: 2 });
    expect(cache.hostBytes).toBe(2 * SIZE);
  });

  it("are forgotten with their chat wherever they are, also while they are on the way", async () => {
    const [cache, slot] = [cacheOf(2, 4), new FakeSlot()];
    slot.length = 2 * BLOCK;
    await cache.remember(prompt(1), slot, { chat: "a" });
    const moving = cache.remember(prompt(2), slot, { chat: "b" });
    while (slot.live.host === 0) await Promise.resolve();
    cache.forget({ chat: "a" });
    await moving;
    expect(slot.live).toEqual({ device: 2, host: 0 });
    cache.forget({ chat: "b" });
    expect(slot.live).toEqual({ device: 0, host: 0 });
    expect(cache.hostBytes).toBe(0);
  });

  it("are forgotten where the host cannot take them", async () => {
    const [cache, slot] = [cacheOf(2, 4), new FakeSlot()];
    slot.refusesToHost = true;
    for (const name of [1, 2]) await remember(cache, slot, name);
    expect(slot.live).toEqual({ device: 2, host: 0 });
    expect(await restore(cache, slot, 2)).toBe(2 * BLOCK);
  });
});

describe("prefixes on the host", () => {
  let model: GoldenModel;
  beforeAll(async () => {
    model = await GoldenModel.load("tiny-tied");
  });
  afterAll(() => model.dispose());

  it("give the reference's logits on the slots of WebGPU", async () => {
    const slots = await model.decoder.createSlotsOnWebGpu(2, 128);
    const golden = model.cases.find(({ name }) => name === "two_images")!;
    const content = sequenceOf(promptOfCase(golden)).content;
    const blockBytes = 4 * model.decoder.tokenBytes + 1024;
    const blocks = Math.ceil(content.length / 4) + 6;
    const prefixes = new PrefixCache({
      maxBytes: blocks * blockBytes,
      maxHostBytes: 4 * blocks * blockBytes,
      blockTokens: 4,
    });
    const choices = { slots, chunkTokens: 7, prefixes, features: new FeatureCache(2 ** 20) };
    for (let round = 0; round < 2; round++) {
      for (const asked of model.cases) {
        // Idle slots end with their engine: what is reused comes from the cache.
        const { engine } = engineOn(model, choices);
        const reader = new Script(asked.greedyTokens.slice(0, asked.decodeLogits.length));
        const sequence = sequenceOf(promptOfCase(asked), { reader });
        await engine.run(sequence);
        if (round > 0) expect(sequence.reusedTokens).toBeGreaterThan(0);
        const expected = [asked.logits.subarray(-256), ...asked.decodeLogits];
        for (const [step, row] of expected.entries()) {
          expect(largestDifference(reader.scores[step]!, row)).toBeLessThan(1e-4);
        }
        await engine.close();
      }
    }
    expect(prefixes.hostBytes).toBeGreaterThan(0);
    prefixes.clear();
    await slots.dispose();
  });
});
