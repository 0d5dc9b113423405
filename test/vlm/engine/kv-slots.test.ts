import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { KvCache } from "../../../src/vlm/engine/kv-cache.ts";
import { type KvPart, kvParts } from "../../../src/vlm/engine/kv-slabs.ts";
import { KvSlots } from "../../../src/vlm/engine/kv-slots.ts";
import { Random } from "../../../src/vlm/engine/random.ts";
import { DisposedError } from "../../../src/vlm/errors.ts";
import { Session } from "../../../src/vlm/runtime/session.ts";
import { type GraphDirectory, writeGraphs } from "../runtime/small-graphs.ts";

const parts = (layers: number, heads: number, width: number): KvPart[] =>
  Array.from({ length: layers }, (_, layer) =>
    ["key", "value"].map((part) => ({
      name: `${layer}.${part}`,
      type: "f32" as const,
      heads,
      width,
    })),
  ).flat();
const SMALL = parts(3, 2, 16);
const BYTES_OF_TOKEN = 3 * 2 * 2 * 16 * 4;

let graphs: GraphDirectory;
let session: Session;

beforeAll(async () => {
  graphs = await writeGraphs();
  session = await Session.load(graphs.path("increment"));
});

afterAll(async () => {
  await session.dispose();
  await graphs.remove();
});

/** Appends tokens of which every byte says which sequence and which token it is of. */
async function fill(cache: KvCache, tokens: number, name = 1) {
  const start = cache.length;
  for (let token = start; token < start + tokens; token++) {
    const bytes = new Uint8Array(BYTES_OF_TOKEN).fill((31 * name + token) % 251);
    await cache.append({ tokens: 1, byteLength: bytes.byteLength, bytes }, 1);
  }
}

async function contents(cache: KvCache): Promise<number[]> {
  const tokens: number[] = [];
  for (let token = 0; token < cache.length; token++) {
    const { bytes } = await cache.read(token, token + 1);
    expect(new Set(bytes).size).toBe(1);
    tokens.push(bytes[0]!);
  }
  return tokens;
}

describe("kvParts", () => {
  it("finds the growing inputs with the types and sizes of the graph", () => {
    const found = kvParts([
      { name: "inputs_embeds", type: "f32", dims: ["batch", "sequence", 64] },
      { name: "past_key_values.0.key", type: "f16", dims: ["batch", 2, "capacity", 16] },
      { name: "past_key_values.0.scale", type: "f32", dims: ["batch", 2, "capacity", 1] },
    ]);
    expect(found).toEqual([
      { name: "0.key", type: "f16", heads: 2, width: 16 },
      { name: "0.scale", type: "f32", heads: 2, width: 1 },
    ]);
    expect(() =>
      kvParts([{ name: "past_key_values.0.key", type: "f32", dims: ["b", "h", "c", 16] }]),
    ).toThrow("`past_key_values.0.key`");
  });
});

describe("KvSlots", () => {
  it("has one value per layer for keys and one for values, the same for past and present", () => {
    using slots = new KvSlots(session, SMALL, 2, 32);
    const { past, present } = slots.row(1);
    expect(Object.keys(past)).toHaveLength(6);
    expect(past["past_key_values.2.value"]).toBe(present["present.2.value"]);
    expect(past["past_key_values.0.key"]?.dims).toEqual([1, 2, 32, 16]);
    expect(new Set(Object.values(past)).size).toBe(6);
    expect(slots.byteLength).toBe(2 * 32 * BYTES_OF_TOKEN);
  });

  it("takes parts of different types", async () => {
    const mixed: KvPart[] = [
      { name: "0.key", type: "i8", heads: 2, width: 16 },
      { name: "0.scale", type: "f32", heads: 2, width: 1 },
      { name: "0.value", type: "f16", heads: 2, width: 16 },
    ];
    using slots = new KvSlots(session, mixed, 2, 8);
    expect(slots.row(0).past["past_key_values.0.value"]?.type).toBe("f16");
    const bytes = new Uint8Array(3 * 2 * (16 + 4 + 32)).map((_, index) => index);
    const [one, other] = [slots.open(), slots.open()];
    await one.append({ tokens: 3, byteLength: bytes.byteLength, bytes }, 3);
    const block = await one.read(0, 3);
    expect(block.bytes).toEqual(bytes);
    await other.append(block, 2);
    await other.append(await one.read(2, 3), 1);
    expect((await other.read(0, 3)).bytes).toEqual(bytes);
  });

  it("gives out the first free slot, and none when all are taken", () => {
    using slots = new KvSlots(session, SMALL, 2, 32);
    const [first, second] = [slots.open(), slots.open()];
    expect([first.row, second.row]).toEqual([0, 1]);
    expect(() => slots.open()).toThrow("All 2 slots are taken");
    first.dispose();
    first.dispose();
    expect(slots.open().row).toBe(0);
    expect(() => slots.open()).toThrow(RangeError);
  });

  it("counts tokens and can be cut back, never forward", async () => {
    using slots = new KvSlots(session, SMALL, 1, 32);
    const cache = slots.open();
    await fill(cache, 20);
    cache.truncate(12);
    expect(cache.length).toBe(12);
    expect(() => cache.truncate(13)).toThrow("an integer from 0 to 12, got `13`");
    expect(() => cache.truncate(-1)).toThrow(RangeError);
    cache.clear();
    expect(cache.length).toBe(0);
  });

  it("lets one run at a time in", async () => {
    using slots = new KvSlots(session, SMALL, 1, 32);
    const cache = slots.open();
    const release = cache.occupy();
    await expect(fill(cache, 1)).rejects.toThrow("in use by another run");
    expect(() => cache.clear()).toThrow("in use by another run");
    release();
    await fill(cache, 1);
    expect(cache.length).toBe(1);
  });

  it("keeps what every sequence has when they move to the front, in every order", async () => {
    const random = new Random(5);
    using slots = new KvSlots(session, SMALL, 5, 12);
    const caches: KvCache[] = [];
    const expected = new Map<KvCache, number[]>();
    for (let name = 0; name < 4; name++) {
      const cache = slots.open();
      await fill(cache, 1 + Math.floor(random.next() * 11), name);
      caches.push(cache);
      expected.set(cache, await contents(cache));
    }
    for (let round = 0; round < 40; round++) {
      const chosen = caches.filter(() => random.next() < 0.5);
      if (chosen.length === 0) continue;
      const { past } = await slots.lead(chosen);
      expect(past["past_key_values.0.key"]?.dims[0]).toBe(chosen.length);
      expect(chosen.map(({ row }) => row).toSorted()).toEqual([...chosen.keys()]);
      expect(new Set(caches.map(({ row }) => row)).size).toBe(4);
      for (const cache of caches) expect(await contents(cache)).toEqual(expected.get(cache));
    }
  });

  it("lets what lies idle go when its place is wanted", async () => {
    using slots = new KvSlots(session, SMALL, 4, 12);
    const [idle, one, other] = [slots.open(), slots.open(), slots.open()];
    await fill(idle, 5, 1);
    await fill(one, 6, 2);
    await fill(other, 7, 3);
    const expected = await Promise.all([contents(one), contents(other)]);
    idle.parked = true;
    await slots.lead([one, other]);
    expect(idle.disposed).toBe(true);
    expect([one.row, other.row].toSorted()).toEqual([0, 1]);
    expect(await Promise.all([contents(one), contents(other)])).toEqual(expected);
    expect(slots.open().row).toBe(2);
  });

  it("copies tokens out and in, also a part of them", async () => {
    using slots = new KvSlots(session, SMALL, 2, 12);
    const [one, other] = [slots.open(), slots.open()];
    await fill(one, 9);
    await other.append(await one.read(0, 5), 5);
    await other.append(await one.read(5, 9), 3);
    expect(await contents(other)).toEqual((await contents(one)).slice(0, 8));
    await expect(other.append(await one.read(0, 9), 9)).rejects.toThrow("at most 4 tokens, got 9");
    await expect(one.read(4, 10)).rejects.toThrow("a part of 9 tokens, got 4 to 10");
  });

  it("reserves memory without touching it, and gives it back", () => {
    const before = process.memoryUsage.rss();
    // 2 GiB when full.
    using slots = new KvSlots(session, parts(28, 8, 128), 4, 2341);
    slots.open();
    expect(slots.byteLength).toBeGreaterThan(2000 * 2 ** 20);
    expect(process.memoryUsage.rss() - before).toBeLessThan(100 * 2 ** 20);
  });

  it("can be disposed again, and is of no use then", async () => {
    const slots = new KvSlots(session, SMALL, 2, 32);
    const cache = slots.open();
    slots.dispose();
    slots.dispose();
    expect(cache.disposed).toBe(true);
    await expect(fill(cache, 1)).rejects.toBeInstanceOf(DisposedError);
    expect(() => slots.row(0)).toThrow(DisposedError);
  });

  it("refuses sizes that are none", () => {
    expect(() => new KvSlots(session, SMALL, 1, 0)).toThrow("`capacity` to be an integer >= 1");
    expect(() => new KvSlots(session, SMALL, 0, 8)).toThrow("`slots` to be an integer >= 1");
    expect(() => new KvSlots(session, SMALL, 1, 1.5)).toThrow(RangeError);
  });
});
