import { describe, expect, it } from "vitest";
import { Arrivals } from "../../../src/bot/gates/arrivals.ts";
import { type IncomingMessage, parseMessageEvent } from "../../../src/bot/napcat/events.ts";
import { readEvent } from "../../support/events.ts";

const NOW = 1_790_000_010_000;

function parse(event: unknown): IncomingMessage {
  const parsed = parseMessageEvent(event);
  if (parsed.kind !== "message") throw new Error(parsed.kind);
  return parsed.message;
}

describe("Arrivals", () => {
  it("takes a message once, however often its frame comes", () => {
    const arrivals = new Arrivals(
      () => 60_000,
      () => NOW,
    );
    const message = parse(readEvent("group_text"));
    expect([1, 2, 3].map(() => arrivals.note(message))).toEqual(["new", "repeated", "repeated"]);
  });

  it("tells the same id in another chat apart", () => {
    const arrivals = new Arrivals(
      () => 60_000,
      () => NOW,
    );
    arrivals.note(parse(readEvent("group_text")));
    expect(arrivals.note(parse({ ...readEvent("group_text"), group_id: 8 }))).toBe("new");
  });

  it("takes replayed messages for stale, in seconds and in milliseconds", () => {
    const arrivals = new Arrivals(
      () => 60_000,
      () => NOW,
    );
    expect(arrivals.note(parse(readEvent("group_stale_replayed")))).toBe("stale");
    expect(arrivals.note(parse(readEvent("group_time_ms_fallback")))).toBe("new");
    const hourOld = { ...readEvent("group_text"), time: NOW - 3_600_000 };
    expect(arrivals.note(parse(hourOld))).toBe("stale");
  });

  it("takes any age when there is no limit, and messages without a time for new", () => {
    const ageless = new Arrivals(
      () => Infinity,
      () => NOW,
    );
    expect(ageless.note(parse(readEvent("group_stale_replayed")))).toBe("new");
    const arrivals = new Arrivals(
      () => 1,
      () => NOW,
    );
    expect(arrivals.note(parse({ ...readEvent("group_text"), time: undefined }))).toBe("new");
  });
});
