import { describe, expect, it } from "vitest";
import { SharedWork } from "../../../src/vlm/event-loop/shared-work.ts";

/** Work that ends when the test says so. */
function gate<T>() {
  const starts: AbortSignal[] = [];
  const { promise, resolve, reject } = withResolvers<T>();
  const work = (signal: AbortSignal) => {
    starts.push(signal);
    return promise;
  };
  return { work, starts, resolve, reject };
}

function withResolvers<T>() {
  let resolve!: (value: T) => void;
  let reject!: (reason: unknown) => void;
  const promise = new Promise<T>((ok, fail) => {
    resolve = ok;
    reject = fail;
  });
  return { promise, resolve, reject };
}

describe("SharedWork", () => {
  it("does the work once for all who wait", async () => {
    const shared = new SharedWork<string>();
    const { work, starts, resolve } = gate<string>();
    const results = [shared.run("a", work), shared.run("a", work), shared.run("a", work)];
    resolve("done");
    expect(await Promise.all(results)).toEqual(["done", "done", "done"]);
    expect(starts).toHaveLength(1);
    expect(shared.size).toBe(0);
  });

  it("keeps different keys apart", async () => {
    const shared = new SharedWork<string>();
    const [a, b] = await Promise.all([
      shared.run("a", async () => "a"),
      shared.run("b", async () => "b"),
    ]);
    expect([a, b]).toEqual(["a", "b"]);
  });

  it("keeps nothing: the same key later is new work", async () => {
    const shared = new SharedWork<number>();
    let count = 0;
    const work = async () => ++count;
    expect([await shared.run("a", work), await shared.run("a", work)]).toEqual([1, 2]);
  });

  it("lets one waiter go without disturbing the others, the first one included", async () => {
    const shared = new SharedWork<string>();
    const { work, starts, resolve } = gate<string>();
    const first = new AbortController();
    const leaving = shared.run("a", work, first.signal);
    const staying = shared.run("a", work, new AbortController().signal);
    first.abort(new Error("not me"));
    await expect(leaving).rejects.toThrow("not me");
    expect(starts[0]!.aborted).toBe(false);
    resolve("done");
    expect(await staying).toBe("done");
  });

  it("stops the work when the last waiter has left, and starts afresh for the next one", async () => {
    const shared = new SharedWork<string>();
    const { work, starts } = gate<string>();
    const [one, two] = [new AbortController(), new AbortController()];
    const leaving = [shared.run("a", work, one.signal), shared.run("a", work, two.signal)];
    one.abort(new Error("one"));
    expect(starts[0]!.aborted).toBe(false);
    two.abort(new Error("two"));
    expect(starts[0]!.aborted).toBe(true);
    const settled = await Promise.allSettled(leaving);
    expect(settled.map((result) => result.status)).toEqual(["rejected", "rejected"]);
    expect(await shared.run("a", async () => "fresh")).toBe("fresh");
  });

  it("does not forget the new work when the old, stopped one ends at last", async () => {
    const shared = new SharedWork<string>();
    const old = gate<string>();
    const stop = new AbortController();
    const leaving = shared.run("a", old.work, stop.signal);
    stop.abort(new Error("gone"));
    await expect(leaving).rejects.toThrow("gone");
    const fresh = gate<string>();
    const waiting = shared.run("a", fresh.work);
    old.reject(new Error("late"));
    await Promise.resolve();
    expect(shared.size).toBe(1);
    fresh.resolve("fresh");
    expect(await waiting).toBe("fresh");
  });

  it("hands a failure to everybody and keeps none of it", async () => {
    const shared = new SharedWork<string>();
    const failing = gate<string>();
    const waiting = [shared.run("a", failing.work), shared.run("a", failing.work)];
    failing.reject(new Error("broken"));
    for (const result of await Promise.allSettled(waiting)) {
      expect(result).toMatchObject({ status: "rejected", reason: { message: "broken" } });
    }
    expect(await shared.run("a", async () => "better")).toBe("better");
  });

  it("refuses a waiter that has given up already, without starting anything", async () => {
    const shared = new SharedWork<string>();
    const { work, starts } = gate<string>();
    await expect(shared.run("a", work, AbortSignal.abort(new Error("early")))).rejects.toThrow(
      "early",
    );
    expect(starts).toHaveLength(0);
  });
});
