import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import {
  eachUntilAborted,
  isTimeoutError,
  settledWithin,
  startDeadline,
  untilAborted,
} from "../src/abort.ts";

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

describe("startDeadline", () => {
  it("aborts with a timeout when time is up", () => {
    const deadline = startDeadline(100);
    vi.advanceTimersByTime(99);
    expect(deadline.signal.aborted).toBe(false);
    vi.advanceTimersByTime(1);
    expect(isTimeoutError(deadline.signal.reason)).toBe(true);
  });

  it("follows the first source that aborts, with its reason, and drops its timer", () => {
    const sources = [new AbortController(), new AbortController()];
    const deadline = startDeadline(100, undefined, ...sources.map(({ signal }) => signal));
    sources[1]?.abort("recalled");
    sources[0]?.abort("later");
    expect(deadline.signal.reason).toBe("recalled");
    expect(vi.getTimerCount()).toBe(0);
  });

  it("is aborted from the start when a source is, and leaves nothing behind", () => {
    const deadline = startDeadline(100, AbortSignal.abort("gone"));
    expect(deadline.signal.reason).toBe("gone");
    expect(vi.getTimerCount()).toBe(0);
  });

  it("lets go of timer and sources at the end", () => {
    const source = new AbortController();
    const deadline = startDeadline(100, source.signal);
    deadline.end();
    source.abort("late");
    vi.advanceTimersByTime(200);
    expect(deadline.signal.aborted).toBe(false);
  });
});

describe("untilAborted", () => {
  it("settles as the promise does, or rejects with the reason", async () => {
    const { signal } = new AbortController();
    await expect(untilAborted(Promise.resolve(1), signal)).resolves.toBe(1);
    await expect(untilAborted(Promise.reject("x"), signal)).rejects.toBe("x");
    await expect(untilAborted(new Promise(() => {}), AbortSignal.abort("y"))).rejects.toBe("y");
  });
});

describe("settledWithin", () => {
  it("settles as the promise does, or with nothing when time is over, and leaves no timer", async () => {
    await expect(settledWithin(Promise.resolve(1), 10)).resolves.toBe(1);
    await expect(settledWithin(Promise.reject("x"), 10)).rejects.toBe("x");
    expect(vi.getTimerCount()).toBe(0);
    const late = settledWithin(new Promise<number>(() => {}), 10);
    await vi.advanceTimersByTimeAsync(10);
    await expect(late).resolves.toBeUndefined();
  });
});

describe("eachUntilAborted", () => {
  it("leaves a stream that ignores its signal, and tells it to stop", async () => {
    const controller = new AbortController();
    let stopped = 0;
    const stream: AsyncIterable<number> = {
      [Symbol.asyncIterator]: () => ({
        next: () => new Promise(() => {}),
        return: async () => {
          stopped++;
          return { done: true, value: undefined };
        },
      }),
    };
    const first = eachUntilAborted(stream, controller.signal).next();
    controller.abort("stopped");
    await expect(first).rejects.toBe("stopped");
    expect(stopped).toBe(1);
  });

  it("passes everything on in order", async () => {
    async function* count() {
      yield 1;
      yield 2;
    }
    const seen: number[] = [];
    for await (const item of eachUntilAborted(count(), undefined)) seen.push(item);
    expect(seen).toEqual([1, 2]);
  });
});
