import { describe, expect, it } from "vitest";
import { Standing } from "../../../src/bot/gates/standing.ts";
import { type IncomingMessage, parseMessageEvent } from "../../../src/bot/napcat/events.ts";
import { parseNotice } from "../../../src/bot/napcat/notices.ts";
import { groupMessage, privateMessage } from "../../../src/bot/testing.ts";
import { readEvent } from "../../support/events.ts";

function parse(event: unknown): IncomingMessage {
  const parsed = parseMessageEvent(event);
  if (parsed.kind !== "message") throw new Error(parsed.kind);
  return parsed.message;
}

const here = parse(groupMessage());
const elsewhere = parse(groupMessage({ groupId: 8 }));
const person = parse(privateMessage());

function setUp() {
  let now = 1_790_000_000_000;
  const standing = new Standing(() => now);
  const note = (name: string, change: object = {}) => {
    const notice = parseNotice({ ...readEvent(name), ...change });
    if (notice === undefined) throw new Error(`${name} means nothing.`);
    standing.note(notice);
  };
  const reasons = () =>
    [here, elsewhere, person].map((message) => standing.refuse(message)?.reason ?? "open");
  return { note, reasons, pass: (ms: number) => (now += ms) };
}

describe("Standing", () => {
  it("is open until something happens", () => {
    expect(setUp().reasons()).toEqual(["open", "open", "open"]);
  });

  it("closes a group while the bot is muted, and no longer than that", () => {
    const { note, reasons, pass } = setUp();
    note("notice_group_ban_bot");
    expect(reasons()).toEqual(["muted", "open", "open"]);
    pass(600_001);
    expect(reasons()).toEqual(["open", "open", "open"]);
    note("notice_group_ban_bot");
    note("notice_group_ban_bot", { sub_type: "lift_ban", duration: 0 });
    expect(reasons()).toEqual(["open", "open", "open"]);
  });

  it("keeps the bot's own mute and that of the whole group apart", () => {
    const { note, reasons, pass } = setUp();
    note("notice_group_ban_all");
    note("notice_group_ban_bot");
    note("notice_group_ban_all", { sub_type: "lift_ban", duration: 0 });
    expect(reasons()[0]).toBe("muted");
    pass(600_001);
    expect(reasons()[0]).toBe("open");
  });

  it("does not mind the mutes and kicks of others", () => {
    const { note, reasons } = setUp();
    note("notice_group_ban_bot", { user_id: 5 });
    note("notice_group_decrease_kick_me", { sub_type: "kick", user_id: 5 });
    expect(reasons()).toEqual(["open", "open", "open"]);
  });

  it("closes a group the bot was put out of, until it is taken in again", () => {
    const { note, reasons } = setUp();
    note("notice_group_decrease_disband");
    expect(reasons()).toEqual(["kicked", "open", "open"]);
    note("notice_group_increase");
    expect(reasons()).toEqual(["open", "open", "open"]);
  });

  it.each(["notice_bot_offline", "meta_heartbeat_offline"])("closes everything on %s", (name) => {
    const { note, reasons } = setUp();
    note(name);
    expect(reasons()).toEqual(["offline", "offline", "offline"]);
    note("meta_heartbeat");
    expect(reasons()).toEqual(["open", "open", "open"]);
  });
});
