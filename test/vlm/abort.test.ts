import { getEventListeners } from "node:events";
import { describe, expect, it } from "vitest";
import { linkSignals, untilAborted } from "../../src/vlm/abort.ts";

describe("linkSignals", () => {
  it("follows the first source that aborts, with its reason", () => {
    const [a, b] = [new AbortController(), new AbortController()];
    const { signal } = linkSignals(a.signal, undefined, b.signal);
    b.abort("b");
    a.abort("a");
    expect(signal.reason).toBe("b");
  });

  it("is aborted at once by a source that is", () => {
    expect(linkSignals(AbortSignal.abort("early")).signal.reason).toBe("early");
  });

  it("leaves no listener behind, unlinked or aborted", () => {
    const [a, b] = [new AbortController(), new AbortController()];
    linkSignals(a.signal, b.signal).unlink();
    linkSignals(a.signal, b.signal);
    a.abort();
    expect(getEventListeners(a.signal, "abort")).toEqual([]);
    expect(getEventListeners(b.signal, "abort")).toEqual([]);
  });
});

describe("untilAborted", () => {
  it("settles as the promise does and leaves no listener", async () => {
    const { signal } = new AbortController();
    expect(await untilAborted(Promise.resolve(1), signal)).toBe(1);
    await expect(untilAborted(Promise.reject(new Error("no")), signal)).rejects.toThrow("no");
    expect(getEventListeners(signal, "abort")).toEqual([]);
  });

  it("rejects with the reason when the abort comes first", async () => {
    const controller = new AbortController();
    const waiting = untilAborted(new Promise(() => {}), controller.signal);
    controller.abort("enough");
    await expect(waiting).rejects.toBe("enough");
    await expect(untilAborted(Promise.resolve(1), controller.signal)).rejects.toBe("enough");
  });
});
