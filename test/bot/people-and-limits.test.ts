// Who may ask and how much, through the whole bot: what the gates refuse is neither computed nor answered.

import { describe, expect, it } from "vitest";
import { DEFAULT_PHRASES } from "../../src/bot/reply/phrases.ts";
import { groupMessage, privateMessage } from "../../src/bot/testing.ts";
import { readEvent } from "../support/events.ts";
import { type QuickBotOptions, quickBot } from "../support/quick-bot.ts";

const setUp = (options: QuickBotOptions = {}) =>
  quickBot({ answer: "这是一句挺长的回答。", ...options });

const ask = (userId: number, groupId = 7, text = "在吗？") =>
  groupMessage({ mentionsBot: true, userId, groupId, text });

describe("people and limits", () => {
  it("neither hears nor answers where it is not wanted", async () => {
    const { napcat, model, receive } = setUp({
      access: { groups: { deny: ["8"] }, users: { deny: ["42"] }, temporary: false },
    });
    await receive(ask(41, 8), ask(42), readEvent("private_temp_session"));
    expect([napcat.calls, model.requests]).toEqual([[], []]);
    await receive(ask(41), privateMessage({ userId: 41, text: "在吗？" }));
    expect(napcat.sent).toHaveLength(2);
  });

  it("answers as many questions as it may, and says once that it is too much", async () => {
    const { napcat, model, receive } = setUp({ limits: { personPerMinute: 2 } });
    await receive(...Array.from({ length: 6 }, () => ask(41)), ask(42));
    expect(model.requests).toHaveLength(3);
    expect(napcat.sentTexts.filter((text) => text === DEFAULT_PHRASES.tooOften)).toHaveLength(1);
  });

  it("pauses a chat where messages time out, without trying again, while others go on", async () => {
    const { napcat, model, receive } = setUp({ breaker: { failures: 3 } });
    const { message } = readEvent("api_send_timeout_maybe_sent") as { message: string };
    const refuse = { status: "failed", retcode: 1200, data: null, message, wording: message };
    napcat.answer("send_group_msg", ({ group_id }) => {
      if (group_id === 7) throw refuse;
      return { message_id: 1 };
    });
    await receive(...Array.from({ length: 6 }, () => ask(41)));
    expect(napcat.sent).toHaveLength(3);
    expect(model.requests).toHaveLength(3);
    await receive(ask(41, 8), ask(41, 8));
    expect(napcat.sent).toHaveLength(5);
  });

  it("falls silent when two bots talk to each other", async () => {
    const { napcat, receive } = setUp({ loopGuard: { exchanges: 5 } });
    for (let round = 0; round < 20; round++) await receive(ask(41, 7, `第${round}句`));
    expect(napcat.sent).toHaveLength(5);
    await receive(groupMessage({ userId: 42, groupId: 7, text: "你们够了" }), ask(41));
    expect(napcat.sent).toHaveLength(6);
  });

  it("does not answer what only repeats it", async () => {
    const { napcat, receive } = setUp();
    await receive(ask(41), ask(41, 7, "这是一句挺长的回答。"));
    expect(napcat.sent).toHaveLength(1);
  });
});
