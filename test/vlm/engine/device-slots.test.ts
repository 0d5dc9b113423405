// Keys and values on cards that are played: where copies go, in which order, and what is left when a card is lost in the
// middle of one. Numbers are compared with the goldens elsewhere, in memory of the CPU.

import { describe, expect, it } from "vitest";
import { DeviceSlots } from "../../../src/vlm/engine/device-slots.ts";
import { PrefixCache } from "../../../src/vlm/engine/prefix-cache.ts";
import { TokenContent } from "../../../src/vlm/engine/token-content.ts";
import { CudaCards } from "../../../src/vlm/runtime/cuda-cards.ts";
import type { CudaDevice } from "../../../src/vlm/runtime/cuda-device.ts";
import { memoryOn } from "../../support/card-memory.ts";
import { FakeCuda } from "../../support/fake-cuda.ts";
import { tempDir } from "../../support/temp-dir.ts";

const PARTS = [
  { name: "0.key", heads: 2, width: 4, type: "f16" },
  { name: "0.value", heads: 2, width: 4, type: "f16" },
] as const;
const BLOCK_TOKENS = 4;
/** Of two parts, and what the cache counts for its books. */
const BLOCK_BYTES = BLOCK_TOKENS * 2 * 2 * 4 * 2 + 1024;
const NOBODY = { chat: undefined };

async function twoCards() {
  const fake = new FakeCuda(await tempDir());
  fake.cards = [...fake.cards, ...fake.cards];
  const cards = new CudaCards(fake.start);
  return { fake, cards: [await cards.open(0), await cards.open(1)] as const };
}

function slotsOn(card: CudaDevice, count = 2): Promise<DeviceSlots> {
  const memory = memoryOn(card);
  return DeviceSlots.create(memory, PARTS, count, 32);
}

/** A slot as if so many tokens had been computed into it. */
function filled(slots: DeviceSlots, tokens: number) {
  const slot = slots.open();
  slot.grow(tokens);
  return slot;
}

const contentFrom = (first: number) =>
  new TokenContent(
    Int32Array.from({ length: BLOCK_TOKENS }, (_, index) => first + index),
    [],
  );

describe("keys and values on two cards", () => {
  it("begin as zeros, and each card has its own memory, counted by itself", async () => {
    const { fake, cards } = await twoCards();
    fake.called.length = 0;
    const [one, two] = [await slotsOn(cards[0]), await slotsOn(cards[1], 1)];
    const made = ["cudaMalloc", "cudaMalloc", "cudaMemsetAsync", "cudaMemsetAsync"];
    expect(fake.called).toEqual([
      ...[...made, "cudaStreamSynchronize"],
      ...[...made, "cudaStreamSynchronize"],
    ]);
    expect(cards.map(({ budget }) => budget.used)).toEqual([one.byteLength, two.byteLength]);
    one.dispose();
    await cards[0].call([cards[0].synchronize()]);
    expect(cards.map(({ budget }) => budget.used)).toEqual([0, two.byteLength]);
    two.dispose();
  });

  it("leave the other card alone when one is lost", async () => {
    const { fake, cards } = await twoCards();
    const [one, two] = [await slotsOn(cards[0]), await slotsOn(cards[1])];
    const [lost, kept] = [filled(one, 8), filled(two, 8)];
    fake.failures.set("cudaMemcpy2DAsync", 719);
    await expect(lost.read(0, 4)).rejects.toMatchObject({ code: "device-lost" });
    fake.failures.clear();
    expect((await kept.read(0, 4)).byteLength).toBe(128);
    await expect(lost.read(0, 4)).rejects.toBe(cards[0].loss.reason);
    // What is there ends without asking a lost card anything.
    const { length } = fake.called;
    one.dispose();
    expect(fake.called).toHaveLength(length);
    two.dispose();
  });
});

describe("kept prefixes of a card", () => {
  async function cacheOn(card: CudaDevice) {
    const slots = await slotsOn(card);
    const prefixes = new PrefixCache({
      maxBytes: 2 * BLOCK_BYTES,
      maxHostBytes: 2 * BLOCK_BYTES,
      blockTokens: BLOCK_TOKENS,
    });
    const keep = async (first: number) => {
      const slot = filled(slots, BLOCK_TOKENS);
      await prefixes.remember(contentFrom(first), slot, NOBODY).finally(() => slot.dispose());
    };
    return { slots, prefixes, keep };
  }

  it("are copied to the host when the card's share is full, and take no memory of it any more", async () => {
    const { fake, cards } = await twoCards();
    const [card] = cards;
    const { slots, prefixes, keep } = await cacheOn(card);
    const before = fake.usedBytes;
    for (const first of [100, 200]) await keep(first);
    expect([prefixes.blocks, prefixes.hostBytes]).toEqual([2, 0]);
    expect(fake.usedBytes - before).toBe(2 * 128);
    const { fromDevice } = card.copies.traffic;
    for (const first of [300, 400]) await keep(first);
    expect([prefixes.blocks, prefixes.hostBytes]).toEqual([4, 2 * BLOCK_BYTES]);
    expect(card.copies.traffic.fromDevice - fromDevice).toBe(2 * 128);
    await card.call([card.synchronize()]);
    expect(fake.usedBytes - before).toBe(2 * 128);
    // Used again: up to the card, by way of memory that is given back.
    const slot = slots.open();
    const { toDevice } = card.copies.traffic;
    await prefixes.restore(contentFrom(100), slot, BLOCK_TOKENS, NOBODY);
    expect(slot.length).toBe(BLOCK_TOKENS);
    expect(card.copies.traffic.toDevice - toDevice).toBe(128);
    slot.dispose();
    prefixes.clear();
    slots.dispose();
    await card.call([card.synchronize()]);
    expect([fake.usedBytes, card.budget.used]).toEqual([0, 0]);
  });

  it("are forgotten when the card is lost while one is on its way to the host", async () => {
    const { fake, cards } = await twoCards();
    const [card] = cards;
    const { slots, prefixes, keep } = await cacheOn(card);
    for (const first of [100, 200]) await keep(first);
    let lose = () => {};
    fake.holds.set(
      "cudaMemcpyAsync",
      new Promise<void>((resolve) => {
        lose = resolve;
      }),
    );
    const keeping = keep(300);
    await expect.poll(() => fake.waiting).toContain("cudaMemcpyAsync");
    fake.sticky = 719;
    lose();
    // The copy brings nothing, and what was to make room for is dropped with the card.
    await keeping.catch((error: unknown) => expect(error).toBe(card.loss.reason));
    await expect(keep(400)).rejects.toMatchObject({ code: "device-lost" });
    expect(prefixes.hostBytes).toBe(0);
    prefixes.clear();
    slots.dispose();
  });

  it("are forgotten when they are taken away while one is on its way to the host", async () => {
    const { fake, cards } = await twoCards();
    const [card] = cards;
    const { slots, prefixes, keep } = await cacheOn(card);
    for (const first of [100, 200]) await keep(first);
    let arrive = () => {};
    fake.holds.set(
      "cudaMemcpyAsync",
      new Promise<void>((resolve) => {
        arrive = resolve;
      }),
    );
    const keeping = keep(300);
    await expect.poll(() => fake.waiting).toContain("cudaMemcpyAsync");
    prefixes.clear();
    arrive();
    await keeping;
    expect([prefixes.blocks, prefixes.hostBytes]).toEqual([1, 0]);
    prefixes.clear();
    slots.dispose();
    await card.call([card.synchronize()]);
    expect([fake.usedBytes, card.budget.used]).toEqual([0, 0]);
  });
});
