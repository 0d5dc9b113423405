// Mutes from before the bot could hear of them, through the whole bot.

import { describe, expect, it } from "vitest";
import { BOT_ID, FakeNapCat, groupMessage } from "../../../src/bot/testing.ts";
import { readEvent } from "../../support/events.ts";
import { quickBot } from "../../support/quick-bot.ts";

const inSeconds = (seconds: number) => Math.floor(Date.now() / 1000) + seconds;
const ask = (text = "在吗") => groupMessage({ text, mentionsBot: true });
const CONNECTED = { ...readEvent("meta_lifecycle_connect"), self_id: BOT_ID };

/** A bot in a group where QQ says this of it. */
function setUp(member: object, group: object = {}) {
  const napcat = new FakeNapCat();
  const said = { member, group };
  napcat.answer("get_group_member_info", () => said.member);
  napcat.answer("get_group_info", () => said.group);
  const { model, receive } = quickBot({ napcat, merge: { windowMs: 20 } });
  napcat.receive(CONNECTED);
  const lookUps = () => napcat.calls.filter(({ action }) => action === "get_group_member_info");
  return { napcat, model, receive, said, lookUps };
}

describe("a bot that was muted before it started", () => {
  it.each<[string, object, object]>([
    ["itself", { shut_up_timestamp: inSeconds(600), role: "member" }, {}],
    ["with everybody", { shut_up_timestamp: 0, role: "member" }, { group_all_shut: -1 }],
  ])("computes nothing and says nothing: %s", async (_how, member, group) => {
    const { napcat, model, receive, lookUps } = setUp(member, group);
    await receive(ask());
    await receive(ask());
    expect([napcat.sent, model.requests]).toEqual([[], []]);
    expect(lookUps(), "asked once").toHaveLength(1);
    const lift = { ...readEvent("notice_group_ban_bot"), sub_type: "lift_ban", self_id: BOT_ID };
    await receive({ ...lift, user_id: BOT_ID, group_id: 700000003, duration: 0 });
    await receive({ ...lift, user_id: 0, group_id: 700000003, duration: 0 });
    await receive(ask());
    expect(napcat.sent).toHaveLength(1);
  });

  it.each<[string, object, object]>([
    ["no mute", { shut_up_timestamp: 0, role: "member" }, { group_all_shut: 0 }],
    ["one that is over", { shut_up_timestamp: inSeconds(-5), role: "member" }, {}],
    ["one of everybody but those who run the group", { role: "admin" }, { group_all_shut: -1 }],
    ["nothing", {}, {}],
  ])("answers where QQ knows of %s, and asks once a group", async (_what, member, group) => {
    const { napcat, receive, lookUps } = setUp(member, group);
    await receive(ask());
    await receive(ask());
    expect(napcat.sent).toHaveLength(2);
    expect(lookUps()).toHaveLength(1);
  });
});

describe("a new connection", () => {
  it("tells of a mute that was lifted meanwhile, and of one that came", async () => {
    const { napcat, receive, said } = setUp({ shut_up_timestamp: 0, role: "member" });
    await receive({
      ...readEvent("notice_group_ban_all"),
      self_id: BOT_ID,
      group_id: 700000003,
    });
    await receive(ask());
    expect(napcat.sent).toEqual([]);
    said.group = { group_all_shut: 0 };
    await receive(CONNECTED);
    while (napcat.sent.length === 0) {
      await receive(ask());
      await new Promise(setImmediate);
    }
    said.member = { shut_up_timestamp: inSeconds(600) };
    await receive(CONNECTED);
    const before = napcat.sent.length;
    await receive(ask());
    expect(napcat.sent).toHaveLength(before);
  });

  it("lets no answer that is older than a notice count", async () => {
    const { napcat, receive } = setUp({});
    let answer: (member: object) => void = () => {};
    napcat.answer("get_group_member_info", () => new Promise((resolve) => (answer = resolve)));
    napcat.receive(ask());
    await new Promise(setImmediate);
    await receive({
      ...readEvent("notice_group_ban_bot"),
      sub_type: "lift_ban",
      self_id: BOT_ID,
      user_id: BOT_ID,
      group_id: 700000003,
      duration: 0,
    });
    answer({ shut_up_timestamp: inSeconds(600) });
    await new Promise(setImmediate);
    await receive(ask());
    expect(napcat.sent.length).toBeGreaterThan(0);
  });
});
