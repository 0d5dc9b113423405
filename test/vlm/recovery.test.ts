// A lost device: who waits, who is told what, and when it is tried again. What is loaded is a fake, and so is time.

import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { DeviceError } from "../../src/vlm/errors.ts";
import { Recovery } from "../../src/vlm/recovery.ts";

/** A model on a card that can be lost. */
class FakeLoaded {
  readonly name: string;
  readonly card = new AbortController();
  constructor(name: string) {
    this.name = name;
  }
  lose(): DeviceError {
    const error = new DeviceError(
      "device-lost",
      "The device cuda:0 (H100) was lost: CUDA error 700.",
    );
    this.card.abort(error);
    return error;
  }
}

interface Attempt {
  readonly succeed: () => FakeLoaded;
  readonly fail: (message: string) => void;
  readonly signal: AbortSignal;
}

function setUp() {
  const first = new FakeLoaded("first");
  const attempts: Attempt[] = [];
  const unloaded: [string, string][] = [];
  const warnings: string[] = [];
  const recovery = new Recovery<FakeLoaded>({
    device: "cuda:0",
    loaded: first,
    load: (signal) =>
      new Promise((resolve, reject) => {
        signal.addEventListener("abort", () => reject(signal.reason), { once: true });
        attempts.push({
          signal,
          succeed: () => {
            const loaded = new FakeLoaded(`number ${attempts.length + 1}`);
            resolve(loaded);
            return loaded;
          },
          fail: (message) => reject(new Error(message)),
        });
      }),
    unload: async ({ name }, why) => {
      unloaded.push([name, why.message]);
    },
    loss: ({ card }) => card.signal,
    onWarning: (message) => warnings.push(message),
  });
  return { recovery, first, attempts, unloaded, warnings };
}

const never = new AbortController().signal;

beforeEach(() => {
  vi.useFakeTimers();
});
afterEach(() => {
  vi.useRealTimers();
});

/** Lets everything happen that needs no time. */
const settle = () => vi.advanceTimersByTimeAsync(0);

describe("a device that is lost", () => {
  it("is loaded again at once, and whoever comes meanwhile waits for it", async () => {
    const { recovery, first, attempts, unloaded, warnings } = setUp();
    expect(await recovery.use(never)).toBe(first);
    expect(recovery.health).toEqual({ state: "ready", losses: 0 });
    const { message } = first.lose();
    expect(recovery.health).toEqual({
      state: "reloading",
      losses: 1,
      reason: message,
      nextAttemptMs: 0,
    });
    const waiting = [recovery.use(never), recovery.use(never)];
    await settle();
    // What was there ends first, and one attempt is made for all.
    expect(unloaded).toEqual([["first", message]]);
    expect(attempts).toHaveLength(1);
    const again = attempts[0]!.succeed();
    expect(await Promise.all(waiting)).toEqual([again, again]);
    expect(recovery.health).toEqual({ state: "ready", losses: 1 });
    expect(warnings).toEqual([
      `${message} It is being loaded again.`,
      "The model is on cuda:0 again.",
    ]);
  });

  it("is tried again after pauses that grow to a minute, and says so to whoever asks in them", async () => {
    const { recovery, first, attempts } = setUp();
    const { message } = first.lose();
    await settle();
    for (const seconds of [1, 2, 4, 8, 16, 32, 60, 60]) {
      const count = attempts.length;
      const waiting = recovery.use(never).catch((error: unknown) => error);
      attempts.at(-1)!.fail("no card");
      // Whoever waited for this attempt is not kept waiting for the next.
      expect(await waiting).toMatchObject({ name: "DeviceError", code: "device-lost" });
      await expect(recovery.use(never)).rejects.toThrow(
        `could not be loaded again: no card The next attempt is in ${seconds} s`,
      );
      expect(recovery.health).toEqual({
        state: "reloading",
        losses: 1,
        reason: `${message} no card`,
        nextAttemptMs: seconds * 1000,
      });
      await vi.advanceTimersByTimeAsync(seconds * 1000 - 1);
      expect(attempts).toHaveLength(count);
      await vi.advanceTimersByTimeAsync(1);
      expect(attempts).toHaveLength(count + 1);
    }
    const again = attempts.at(-1)!.succeed();
    expect(await recovery.use(never)).toBe(again);
  });

  it("may be lost again, also while it is being loaded", async () => {
    const { recovery, first, attempts, unloaded } = setUp();
    first.lose();
    await settle();
    const second = attempts[0]!.succeed();
    second.lose();
    await settle();
    expect(unloaded.map(([name]) => name)).toEqual(["first", second.name]);
    const third = attempts[1]!.succeed();
    expect(await recovery.use(never)).toBe(third);
    expect(recovery.health).toEqual({ state: "ready", losses: 2 });
  });

  it("lets go of whoever stops waiting", async () => {
    const { recovery, first } = setUp();
    first.lose();
    const controller = new AbortController();
    const waiting = recovery.use(controller.signal).catch((error: unknown) => error);
    controller.abort("no longer wanted");
    expect(await waiting).toBe("no longer wanted");
  });

  it("is not loaded again when the model has ended, at whatever moment", async () => {
    const early = setUp();
    expect(await early.recovery.end()).toBe(early.first);
    early.first.lose();
    await settle();
    expect(early.attempts).toEqual([]);
    const loading = setUp();
    loading.first.lose();
    await settle();
    expect(await loading.recovery.end()).toBeUndefined();
    expect(loading.attempts[0]!.signal.aborted).toBe(true);
    const pausing = setUp();
    pausing.first.lose();
    await settle();
    pausing.attempts[0]!.fail("no card");
    await settle();
    expect(await pausing.recovery.end()).toBeUndefined();
    await vi.advanceTimersByTimeAsync(120_000);
    expect(pausing.attempts).toHaveLength(1);
    expect(vi.getTimerCount()).toBe(0);
  });
});
