import { describe, expect, it } from "vitest";
import { NoticeLimiter } from "../../../src/bot/reply/notice-limiter.ts";

describe("NoticeLimiter", () => {
  it("lets one notice per chat and minute through", () => {
    let now = 1_000_000;
    const limiter = new NoticeLimiter(() => now);
    const group = { kind: "group", id: "1" } as const;
    expect([limiter.take(group), limiter.take(group)]).toEqual([true, false]);
    expect(limiter.take({ kind: "private", id: "1" })).toBe(true);
    now += 60_000;
    expect(limiter.take(group)).toBe(true);
    // A clock that is set back does not silence the bot for longer than that.
    now -= 3_600_000;
    expect(limiter.take(group)).toBe(true);
  });
});
