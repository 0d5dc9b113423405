import { describe, expect, it } from "vitest";
import { DEFAULT_LIMITS } from "../../../src/bot/gates/gate-options.ts";
import { type RateLimitOptions, RateLimits } from "../../../src/bot/gates/rate-limits.ts";
import { NoticeLimiter } from "../../../src/bot/reply/notice-limiter.ts";
import { DEFAULT_PHRASES } from "../../../src/bot/reply/phrases.ts";
import { groupMessage, privateMessage } from "../../../src/bot/testing.ts";
import { parseEvent } from "../../support/parse-event.ts";

function setUp(options: Partial<RateLimitOptions>) {
  let now = 0;
  const limits = new RateLimits({
    limits: { ...DEFAULT_LIMITS, ...options },
    admins: ["9"],
    phrases: DEFAULT_PHRASES,
    notices: new NoticeLimiter(() => now),
    now: () => now,
  });
  const ask = (userId: number, groupId?: number) =>
    limits.refuse(
      parseEvent(
        groupId === undefined ? privateMessage({ userId }) : groupMessage({ userId, groupId }),
      ),
    );
  /** How many of so many questions were let in. */
  const letIn = (questions: number, userId: number, groupId?: number) =>
    Array.from({ length: questions }, () => ask(userId, groupId)).filter((refusal) => !refusal)
      .length;
  return { limits, ask, letIn, pass: (ms: number) => (now += ms) };
}

describe("RateLimits", () => {
  it("lets a person ask so often, wherever they are, and as often again in every minute", () => {
    const { letIn, pass } = setUp({ personPerMinute: 6 });
    expect(letIn(4, 41, 7)).toBe(4);
    expect(letIn(4, 41)).toBe(2);
    pass(9_999);
    expect(letIn(1, 41)).toBe(0);
    pass(1);
    expect(letIn(2, 41)).toBe(1);
    pass(600_000);
    expect(letIn(20, 41)).toBe(6);
  });

  it("fills evenly, however often it is asked", () => {
    const { letIn, pass } = setUp({ personPerMinute: 3 });
    letIn(3, 41);
    for (let step = 0; step < 1999; step++) {
      pass(10);
      expect(letIn(1, 41)).toBe(0);
    }
    pass(10);
    expect(letIn(1, 41)).toBe(1);
  });

  it("bounds a group and all together, and takes nothing for what it refuses", () => {
    const { letIn } = setUp({ personPerMinute: 2, groupPerMinute: 3, totalPerMinute: 5 });
    expect([letIn(9, 1, 7), letIn(9, 2, 7), letIn(9, 3, 7)]).toEqual([2, 1, 0]);
    expect(letIn(9, 3)).toBe(2);
    expect(letIn(9, 4)).toBe(0);
  });

  it("says so once a minute and chat, and what is the matter", () => {
    const { ask, letIn, pass } = setUp({ personPerMinute: 1, groupPerMinute: 3 });
    letIn(1, 41, 7);
    expect(ask(41, 7)).toEqual({ reason: "person-limit", notice: DEFAULT_PHRASES.tooOften });
    expect(ask(41, 7)).toEqual({ reason: "person-limit" });
    expect(letIn(1, 42, 7) + letIn(1, 43, 7)).toBe(2);
    expect(ask(44, 7)).toEqual({ reason: "group-limit" });
    expect(ask(41)).toEqual({ reason: "person-limit", notice: DEFAULT_PHRASES.tooOften });
    pass(60_000);
    letIn(3, 45, 7);
    letIn(1, 46, 7);
    letIn(1, 47, 7);
    expect(ask(48, 7)).toEqual({ reason: "group-limit" });
  });

  it("counts neither admins nor what has no limit", () => {
    const { letIn } = setUp({ personPerMinute: 1, groupPerMinute: 0, totalPerMinute: 0 });
    expect(letIn(500, 9, 7)).toBe(500);
    expect(
      setUp({ personPerMinute: 0, groupPerMinute: 0, totalPerMinute: 0 }).letIn(500, 41, 7),
    ).toBe(500);
  });

  it("counts commands by themselves", () => {
    const { limits, letIn } = setUp({ personPerMinute: 1, commandsPerMinute: 2 });
    letIn(5, 41);
    const taken = (userId: number) =>
      [1, 2, 3].map(() => limits.takeCommand(parseEvent(privateMessage({ userId }))));
    expect(taken(41)).toEqual([true, true, false]);
    expect(taken(9)).toEqual([true, true, true]);
  });
});
