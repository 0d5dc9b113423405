import { describe, expect, it } from "vitest";
import { parseNotice } from "../../../src/bot/napcat/notices.ts";
import { eventNames, readEvent } from "../../support/events.ts";

const group = { kind: "group", id: "700000003" };
const person = { kind: "private", id: "1000000002" };
const bot = { userId: "3000000001", isBot: true };

// What is not listed here means nothing to the bot.
const MEANINGS: Readonly<Record<string, object>> = {
  meta_lifecycle_connect: { kind: "connected", selfId: "3000000001" },
  meta_heartbeat: { kind: "online" },
  meta_heartbeat_offline: { kind: "offline" },
  notice_bot_offline: { kind: "offline" },
  notice_friend_recall: { kind: "recall", chat: person, messageId: "123456789" },
  notice_group_ban_all: {
    kind: "mute",
    groupId: "700000003",
    who: "everybody",
    durationMs: Infinity,
  },
  notice_group_ban_bot: { kind: "mute", groupId: "700000003", who: bot, durationMs: 600_000 },
  notice_group_decrease_disband: { kind: "left", groupId: "700000003", who: bot },
  notice_group_decrease_kick_me: { kind: "left", groupId: "700000003", who: bot },
  notice_group_increase: {
    kind: "joined",
    groupId: "700000003",
    who: bot,
  },
  notice_group_recall: { kind: "recall", chat: group, messageId: "1629673528" },
  notice_input_status: { kind: "typing", userId: "1000000002" },
  notice_poke_friend: { kind: "poke", chat: person, selfId: "3000000001", userId: "1000000002" },
  notice_poke_group: { kind: "poke", chat: group, selfId: "3000000001", userId: "1000000002" },
};

describe("parseNotice", () => {
  it.each(eventNames())("says what %s means", (name) => {
    expect(parseNotice(readEvent(name))).toEqual(MEANINGS[name]);
  });

  it("knows every line of the table", () => {
    expect(Object.keys(MEANINGS).filter((name) => !eventNames().includes(name))).toEqual([]);
  });

  it("tells who may speak again, and that pokes of others and of the bot itself are none", () => {
    const lifted = { ...readEvent("notice_group_ban_all"), sub_type: "lift_ban", duration: 0 };
    expect(parseNotice(lifted)).toEqual({
      kind: "unmute",
      groupId: "700000003",
      who: "everybody",
    });
    const poke = readEvent("notice_poke_friend");
    expect(parseNotice({ ...poke, sender_id: 3000000001 })).toBeUndefined();
    expect(parseNotice({ ...poke, target_id: 5 })).toBeUndefined();
    const left = { ...readEvent("notice_group_decrease_kick_me"), sub_type: "leave", user_id: 7 };
    expect(parseNotice(left)).toMatchObject({ who: { userId: "7", isBot: false } });
  });

  it.each([
    undefined,
    null,
    "x",
    [],
    {},
    { post_type: "notice", notice_type: "group_recall" },
    { post_type: "notice", notice_type: "group_ban", user_id: {} },
    { post_type: "notice", notice_type: "notify", sub_type: "poke" },
    { post_type: "meta_event", meta_event_type: "heartbeat", status: "good" },
  ])("takes %j for nothing", (wire) => {
    expect(parseNotice(wire)).toBeUndefined();
  });
});
