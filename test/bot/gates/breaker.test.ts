import { describe, expect, it } from "vitest";
import { Breaker } from "../../../src/bot/gates/breaker.ts";
import { groupMessage } from "../../../src/bot/testing.ts";
import { parseEvent } from "../../support/parse-event.ts";

const here = parseEvent(groupMessage({ groupId: 7 }));
const elsewhere = parseEvent(groupMessage({ groupId: 8 }));

function setUp(failures = 3) {
  let now = 0;
  const breaker = new Breaker({ failures, pauseMs: 1000 }, () => now);
  const fail = (times: number) =>
    Array.from({ length: times }, () => breaker.failed(here.chat, "unknown"));
  return { breaker, fail, pass: (ms: number) => (now += ms) };
}

describe("Breaker", () => {
  it("pauses a chat after so many failures in a row, and that chat alone", () => {
    const { breaker, fail } = setUp();
    expect(fail(2)).toEqual([false, false]);
    breaker.close(here.chat);
    expect(fail(3)).toEqual([false, false, true]);
    expect(breaker.refuse(here)).toEqual({ reason: "sends-fail" });
    expect(breaker.isPaused(here.chat)).toBe(true);
    expect(breaker.refuse(elsewhere)).toBeUndefined();
  });

  it("lets one question try when the pause is over, and pauses again if that fails", () => {
    const { breaker, fail, pass } = setUp();
    fail(3);
    pass(1000);
    expect(breaker.refuse(here)).toBeUndefined();
    expect(breaker.refuse(here)).toEqual({ reason: "sends-fail" });
    expect(fail(1)).toEqual([false]);
    pass(999);
    expect(breaker.refuse(here)).toEqual({ reason: "sends-fail" });
    pass(1);
    expect(breaker.refuse(here)).toBeUndefined();
    breaker.close(here.chat);
    expect([breaker.refuse(here), breaker.refuse(here)]).toEqual([undefined, undefined]);
  });

  it("counts refusals, but not what was never sent", () => {
    const { breaker } = setUp(1);
    expect(breaker.failed(here.chat, "not-sent")).toBe(false);
    expect(breaker.refuse(here)).toBeUndefined();
    expect(breaker.failed(here.chat, "refused")).toBe(true);
  });

  it("never pauses with 0", () => {
    const { breaker, fail } = setUp(0);
    fail(50);
    expect(breaker.refuse(here)).toBeUndefined();
  });
});
