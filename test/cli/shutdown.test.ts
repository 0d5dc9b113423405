import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { listenForShutdown, untilShutdown } from "../../src/cli/shutdown.ts";

const SIGNALS = ["SIGINT", "SIGTERM"] as const;
let before: { signal: (typeof SIGNALS)[number]; listeners: NodeJS.SignalsListener[] }[];

beforeEach(() => {
  before = SIGNALS.map((signal) => ({ signal, listeners: process.listeners(signal) }));
  for (const signal of SIGNALS) process.removeAllListeners(signal);
});
afterEach(() => {
  vi.restoreAllMocks();
  for (const { signal, listeners } of before) {
    process.removeAllListeners(signal);
    for (const listener of listeners) process.on(signal, listener);
  }
});

describe("listenForShutdown", () => {
  it("aborts its signal at the first Ctrl-C and says so once", async () => {
    const announce = vi.fn();
    const signal = listenForShutdown(announce);
    const ended = untilShutdown(signal);
    process.emit("SIGINT", "SIGINT");
    await ended;
    await untilShutdown(signal);
    expect(signal.aborted).toBe(true);
    expect(announce).toHaveBeenCalledTimes(1);
  });

  it("takes the copy that npm passes on for the same key press, and a later one as force", () => {
    const kill = vi.spyOn(process, "kill").mockReturnValue(true);
    const clock = vi.spyOn(performance, "now").mockReturnValue(1_000);
    listenForShutdown(() => {});
    process.emit("SIGINT", "SIGINT");
    clock.mockReturnValue(1_020);
    process.emit("SIGINT", "SIGINT");
    expect(kill).not.toHaveBeenCalled();
    clock.mockReturnValue(2_000);
    process.emit("SIGINT", "SIGINT");
    expect(kill).toHaveBeenCalledWith(process.pid, "SIGINT");
    expect(process.listenerCount("SIGINT")).toBe(0);
  });
});
