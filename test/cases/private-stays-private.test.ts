// Temporary sessions and service accounts: no private answer reaches a group, and nobody is answered in vain.

import { describe, expect, it } from "vitest";
import { NapCatCalls } from "../../src/bot/napcat/calls.ts";
import { type IncomingMessage, parseMessageEvent } from "../../src/bot/napcat/events.ts";
import { TemporarySessions } from "../../src/bot/napcat/temporary-sessions.ts";
import { replySegments } from "../../src/bot/reply/segments.ts";
import { FakeNapCat, groupMessage, privateMessage } from "../../src/bot/testing.ts";
import { InferenceError } from "../../src/vlm/index.ts";
import type { FakeAnswers } from "../../src/vlm/testing.ts";
import { readCase, readEvent } from "../support/events.ts";
import { quickBot } from "../support/quick-bot.ts";

const PERSON = 1000000002;
const GROUP = 700000003;
const UNKNOWN_GROUP = 284840486;
const refusedTexts = ["发送失败，请先添加对方为好友", "无法获取用户信息", "发送失败"];
const realGroup = readCase("private_temp_session_real_group");
const unknownGroup = readCase("private_temp_session_unknown_group");
const snowLuma = readCase("private_temp_session_snowluma");

function setUp(napcat: FakeNapCat, answer: FakeAnswers = "好的。") {
  const { model, bot } = quickBot({ napcat, answer, maxMessageAgeMs: Infinity });
  let messageId = 1;
  /** Hands events in one after the other, as if each were a message of its own. */
  const receive = async (...events: object[]) => {
    for (const event of events) {
      napcat.receive({ ...event, message_id: messageId++ });
      await bot.idle();
    }
  };
  return { model, receive, asked: () => model.requests.length };
}

const sentTo = (napcat: FakeNapCat) =>
  napcat.sent.map(({ action, params }) => ({
    action,
    user: params.user_id,
    group: params.group_id,
  }));

const alone = { action: "send_private_msg", user: PERSON, group: undefined };
const throughGroup = { action: "send_private_msg", user: PERSON, group: GROUP };

/**
 * NapCat's rule for somebody who is no friend. What it would have sent into the group is in `leaked`.
 */
function napcatOf(world: { resolves: boolean; hasSession: boolean }) {
  const leaked: object[] = [];
  const napcat = new FakeNapCat();
  const refuse = (message: string) => {
    throw { status: "failed", retcode: 1200, data: null, message, wording: message };
  };
  napcat.answer("send_private_msg", (params) => {
    if (!world.resolves && params.group_id === undefined) refuse("无法获取用户信息");
    if (!world.resolves) leaked.push(params);
    else if (params.group_id === undefined && !world.hasSession) refuse("发送失败");
    return { message_id: 1 };
  });
  napcat.answer("get_group_member_info", ({ group_id, user_id }) =>
    world.resolves ? { group_id, user_id, nickname: "小明" } : refuse("群成员不存在"),
  );
  napcat.answer("get_stranger_info", ({ user_id }) =>
    world.resolves ? { user_id, nickname: "小明" } : refuse("用户不存在"),
  );
  return { napcat, leaked, world };
}

describe("a temporary session", () => {
  it("is answered by the person's number alone", async () => {
    for (const event of [realGroup, unknownGroup, snowLuma]) {
      const napcat = new FakeNapCat();
      const { receive } = setUp(napcat);
      await receive(event);
      expect(sentTo(napcat)).toEqual([alone]);
      expect(napcat.sentTexts).toEqual(["好的。"]);
    }
  });

  it("passes the placeholder of an unknown group to nothing", async () => {
    for (const placeholder of [UNKNOWN_GROUP, String(UNKNOWN_GROUP), 0]) {
      const { napcat } = napcatOf({ resolves: true, hasSession: false });
      const { receive } = setUp(napcat);
      const sender = { user_id: PERSON, nickname: "小明", group_id: placeholder };
      await receive({ ...unknownGroup, group_id: placeholder, sender });
      await receive({
        ...groupMessage({ text: "你好", mentionsBot: true }),
        group_id: placeholder,
      });
      expect(napcat.calls.filter(({ params }) => "group_id" in params)).toEqual([]);
      expect(sentTo(napcat)).toEqual([alone]);
    }
  });

  it("names the group when it was refused without, and NapCat knows the person", async () => {
    const { napcat } = napcatOf({ resolves: true, hasSession: false });
    const { receive, asked } = setUp(napcat);
    await receive(realGroup, realGroup);
    expect(asked()).toBe(2);
    expect(sentTo(napcat)).toEqual([alone, throughGroup, throughGroup]);
  });

  it.each(["get_group_member_info", "get_stranger_info"])(
    "believes %s alone that NapCat knows the person",
    async (action) => {
      const napcat = new FakeNapCat();
      let refusals = 1;
      napcat.answer("send_private_msg", () => {
        if (refusals-- > 0) throw readCase("api_send_failed_temp_session");
        return { message_id: 5 };
      });
      napcat.answer(action, { user_id: PERSON, nickname: "小明" });
      const { receive } = setUp(napcat);
      await receive(realGroup);
      expect(sentTo(napcat)).toEqual([alone, throughGroup]);
    },
  );

  it.each([{}, null, { user_id: 0 }, { user_id: PERSON + 1 }, { nickname: "小明" }])(
    "does not take %j for somebody NapCat knows",
    async (answer) => {
      const napcat = new FakeNapCat();
      napcat.refuse("send_private_msg", "发送失败");
      napcat.answer("get_group_member_info", () => answer);
      const { receive } = setUp(napcat);
      await receive(realGroup);
      expect(sentTo(napcat)).toEqual([alone]);
    },
  );

  it("never reaches the group, whatever NapCat can resolve, in answers and in failure notices", async () => {
    for (const resolves of [true, false]) {
      for (const hasSession of [true, false]) {
        for (const answer of [
          "好的。",
          new InferenceError("decode", "out of memory"),
          "长".repeat(4000),
        ]) {
          const { napcat, leaked, world } = napcatOf({ resolves, hasSession });
          const { receive } = setUp(napcat, answer);
          await receive(realGroup);
          // Started again, NapCat has forgotten everybody.
          world.resolves = false;
          await receive(realGroup);
          expect(leaked).toEqual([]);
          expect(napcat.sent.every(({ action }) => action === "send_private_msg")).toBe(true);
        }
      }
    }
  });

  it("is found out before the model works, where NapCat does not know the person", async () => {
    const { napcat } = napcatOf({ resolves: false, hasSession: false });
    const { receive, asked } = setUp(napcat);
    await receive(realGroup, realGroup, unknownGroup, snowLuma);
    expect(asked()).toBe(0);
    expect(sentTo(napcat)).toEqual([]);
  });

  it.each(refusedTexts)("costs no second answer after %s", async (text) => {
    const napcat = new FakeNapCat().refuse("send_private_msg", text);
    const { receive, asked } = setUp(napcat);
    await receive(snowLuma, snowLuma, realGroup, unknownGroup);
    expect(asked()).toBe(1);
    expect(sentTo(napcat)).toEqual([alone]);
  });

  it("says nothing to the person when the refusal was the answer to a failure notice", async () => {
    const napcat = new FakeNapCat().refuse("send_private_msg", "发送失败");
    const { receive } = setUp(napcat, new InferenceError("decode", "out of memory"));
    await receive(snowLuma);
    expect(sentTo(napcat)).toEqual([alone]);
  });

  it("leaves alone one person, not others, and not the same person as a friend", async () => {
    const napcat = new FakeNapCat();
    napcat.answer("send_private_msg", ({ user_id }) => {
      if (user_id === PERSON) throw readCase("api_send_failed_temp_session");
      return { message_id: 5 };
    });
    const { receive, asked } = setUp(napcat);
    await receive(snowLuma, { ...snowLuma, user_id: 77 });
    expect(asked()).toBe(2);
    await receive(privateMessage({ text: "现在是好友了", userId: PERSON }));
    expect(asked()).toBe(3);
  });

  it("is not sent again when nobody knows whether it was sent", async () => {
    const { napcat } = napcatOf({ resolves: true, hasSession: false });
    napcat.refuse("send_private_msg", "Timeout: NTEvent sendMsg");
    const { receive, asked } = setUp(napcat);
    await receive(realGroup);
    expect(sentTo(napcat)).toEqual([alone]);
    await receive(realGroup);
    expect(asked(), "it may have arrived").toBe(2);
  });

  it("is what every private message is that comes from no friend", () => {
    for (const sub_type of ["group", "group_self", "other"]) {
      expect(parse({ ...realGroup, sub_type }).target).toMatchObject({ temporary: true });
    }
    for (const sub_type of ["friend", undefined]) {
      const event = { ...realGroup, sub_type };
      expect(parse(event).target).toEqual({ kind: "private", userId: String(PERSON) });
    }
    expect(parse(snowLuma)).toMatchObject({
      chat: { kind: "private", id: String(PERSON) },
      target: { kind: "private", userId: String(PERSON), temporary: true },
    });
  });

  it("is tried again after some minutes", async () => {
    let nowMs = 0;
    const napcat = new FakeNapCat().refuse("send_private_msg", "发送失败");
    const sessions = new TemporarySessions(new NapCatCalls(napcat), () => nowMs);
    const message = parse(snowLuma);
    expect(await sessions.refuse(message)).toBeUndefined();
    if (message.target.kind !== "private") throw new Error("not private");
    await expect(sessions.send(message.target, replySegments("好"), {})).rejects.toThrow();
    nowMs = 3 * 60_000;
    expect(await sessions.refuse(message)).toEqual({ reason: "temporary-session" });
    nowMs = 30 * 60_000;
    expect(await sessions.refuse(message)).toBeUndefined();
  });
});

function parse(event: unknown): IncomingMessage {
  const parsed = parseMessageEvent(event);
  if (parsed.kind !== "message") throw new Error(parsed.kind);
  return parsed.message;
}

describe("service accounts and cards", () => {
  const card = readCase("private_service_account_card");

  async function outcome(...events: object[]) {
    const napcat = new FakeNapCat();
    const { receive, asked } = setUp(napcat);
    await receive(...events);
    return { asked: asked(), calls: napcat.calls.length };
  }

  const silence = { asked: 0, calls: 0 };
  const text = (text: string) => ({ type: "text", data: { text } });

  it("are not answered", async () => {
    expect(await outcome(card)).toEqual(silence);
  });

  it.each([2854196310, "2854196925", 66600000, 3889012345, 4010000001, 10000])(
    "are known by their numbers: %s, whatever it says and wherever",
    async (user_id) => {
      const sender = { user_id, nickname: "助手" };
      expect(await outcome({ ...privateMessage({ text: "你好" }), user_id, sender })).toEqual(
        silence,
      );
      const mention = groupMessage({ text: "欢迎新人", mentionsBot: true });
      expect(await outcome({ ...mention, user_id, sender })).toEqual(silence);
    },
  );

  it.each(["json", "xml", "ark"])("that nobody knows send %s alone", async (type) => {
    const sender = { user_id: 1500000001, nickname: "", card: "" };
    const message = [{ type, data: { data: "{}" } }, text(" ")];
    const event = { ...card, user_id: 1500000001, target_id: 1500000001, sender, message };
    expect(await outcome(event)).toEqual(silence);
  });

  it("do not stop a friend's question below a card, in the same message or after it", async () => {
    const friend = { ...privateMessage({ text: "这是什么？" }) };
    const segments = (card.message as object[]).concat(text("这是什么？"));
    expect(await outcome({ ...friend, message: segments })).toEqual({ asked: 1, calls: 1 });
    expect(await outcome({ ...friend, message: card.message }, friend)).toEqual({
      asked: 1,
      calls: 1,
    });
  });

  it("do not stop people: mentions beside a card, faces, and numbers near those of services", async () => {
    expect(
      await outcome({
        ...groupMessage(),
        message: [{ type: "at", data: { qq: "3000000001" } }, ...(card.message as object[])],
      }),
    ).toMatchObject({ asked: 1 });
    for (const userId of [10001, 2854196300, 2854216400, 66600001, 4020000000]) {
      expect(await outcome(privateMessage({ text: "你好", userId }))).toMatchObject({ asked: 1 });
    }
    expect(await outcome(readEvent("private_friend_image"))).toMatchObject({ asked: 1 });
  });
});
