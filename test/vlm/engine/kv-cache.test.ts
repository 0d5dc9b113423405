import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { KvCache } from "../../../src/vlm/engine/kv-cache.ts";
import { DisposedError } from "../../../src/vlm/errors.ts";
import { Session } from "../../../src/vlm/runtime/session.ts";
import { type GraphDirectory, writeGraphs } from "../runtime/small-graphs.ts";

const SHAPE = { layers: 3, kvHeads: 2, headSize: 16 };
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

const fill = (cache: KvCache, tokens: number) => cache.fill(async (append) => append(tokens));

describe("KvCache", () => {
  it("has one value per layer for keys and one for values, the same for past and present", () => {
    using cache = new KvCache(session, SHAPE, 32);
    expect(Object.keys(cache.past)).toHaveLength(6);
    expect(cache.past["past_key_values.2.value"]).toBe(cache.present["present.2.value"]);
    expect(cache.past["past_key_values.0.key"]?.dims).toEqual([1, 2, 32, 16]);
    expect(new Set(Object.values(cache.past)).size).toBe(6);
    expect(cache.byteLength).toBe(3 * 2 * 2 * 32 * 16 * 4);
  });

  it("counts tokens and can be cut back, never forward", async () => {
    using cache = new KvCache(session, SHAPE, 32);
    await fill(cache, 20);
    cache.truncate(12);
    expect(cache.length).toBe(12);
    expect(() => cache.truncate(13)).toThrow("an integer from 0 to 12, got `13`");
    expect(() => cache.truncate(-1)).toThrow(RangeError);
    cache.clear();
    expect(cache.length).toBe(0);
  });

  it("lets one run at a time in", async () => {
    using cache = new KvCache(session, SHAPE, 32);
    let open = () => {};
    const gate = new Promise<void>((resolve) => {
      open = resolve;
    });
    const first = cache.fill(() => gate);
    await expect(fill(cache, 1)).rejects.toThrow("in use by another run");
    expect(() => cache.clear()).toThrow("in use by another run");
    open();
    await first;
    await expect(cache.fill(() => Promise.reject(new Error("failed")))).rejects.toThrow("failed");
    await fill(cache, 1);
    expect(cache.length).toBe(1);
  });

  it("reserves memory without touching it, and gives it back", () => {
    const before = process.memoryUsage.rss();
    // 512 MiB when full.
    using cache = new KvCache(session, { layers: 28, kvHeads: 8, headSize: 128 }, 2341);
    expect(cache.byteLength).toBeGreaterThan(500 * 2 ** 20);
    expect(process.memoryUsage.rss() - before).toBeLessThan(100 * 2 ** 20);
  });

  it("can be disposed again, and is of no use then", async () => {
    const cache = new KvCache(session, SHAPE, 32);
    let told = 0;
    cache.onDispose(() => told++);
    cache.dispose();
    cache.dispose();
    expect(told).toBe(1);
    expect(cache.disposed).toBe(true);
    await expect(fill(cache, 1)).rejects.toBeInstanceOf(DisposedError);
  });

  it("refuses a capacity that is none", () => {
    expect(() => new KvCache(session, SHAPE, 0)).toThrow("`capacity` to be an integer >= 1");
    expect(() => new KvCache(session, SHAPE, 1.5)).toThrow(RangeError);
  });
});
