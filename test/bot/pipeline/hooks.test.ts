// Functions of the host program: what they say counts, and what they break is their own turn.

import { describe, expect, it } from "vitest";
import type { Hooks } from "../../../src/bot/pipeline/hooks.ts";
import { groupMessage, privateMessage } from "../../../src/bot/testing.ts";
import { quickBot } from "../../support/quick-bot.ts";

function setUp(hooks: Hooks) {
  const errors: unknown[] = [];
  const made = quickBot({
    answer: "一只猫。",
    hooks,
    reply: { quote: "never" },
    onError: (error) => void errors.push(error),
  });
  return { ...made, errors };
}

describe("hooks", () => {
  it("beforeTrigger settles whether a message is for the bot, or leaves it to the triggers", async () => {
    const { napcat, model, receive } = setUp({
      beforeTrigger: ({ segments }) => {
        const text = segments
          .map((segment) => (segment.type === "text" ? segment.text : ""))
          .join("");
        return text === "对你说" ? true : text === "不理" ? false : undefined;
      },
    });
    await receive(groupMessage({ text: "对你说" }));
    await receive(groupMessage({ text: "不理", mentionsBot: true }));
    await receive(groupMessage({ text: "闲聊" }));
    await receive(groupMessage({ text: "在吗", mentionsBot: true }));
    expect(model.requests).toHaveLength(2);
    expect(napcat.sent).toHaveLength(2);
  });

  it("beforeModel changes the turn, or ends it in silence", async () => {
    const { napcat, model, receive } = setUp({
      beforeModel: async (turn) =>
        turn.sender.id === "7"
          ? false
          : { ...turn, parts: [...turn.parts, { type: "text", text: "（请用一句话）" }] },
    });
    await receive(privateMessage({ text: "你好" }), privateMessage({ text: "你好", userId: 7 }));
    expect(model.requests.map(({ messages }) => messages.at(-1)?.content)).toEqual([
      "你好（请用一句话）",
    ]);
    expect(napcat.sent).toHaveLength(1);
  });

  it("afterModel changes the answer that is sent and remembered, or keeps it back", async () => {
    const { napcat, model, receive } = setUp({
      afterModel: (answer, turn) => (turn.sender.id === "7" ? false : answer.replace("猫", "*")),
    });
    await receive(privateMessage({ text: "一" }));
    await receive(privateMessage({ text: "二" }));
    await receive(privateMessage({ text: "一", userId: 7 }));
    await receive(privateMessage({ text: "二", userId: 7 }));
    expect(napcat.sentTexts).toEqual(["一只*。", "一只*。"]);
    expect(model.requests[1]?.messages[1]).toEqual({ role: "assistant", content: "一只*。" });
    expect(model.requests[3]?.messages).toHaveLength(1);
  });

  it("beforeSend changes what is sent, or keeps it back, whatever it is", async () => {
    const { napcat, receive } = setUp({
      beforeSend: (message, chat) =>
        chat.id === "8" ? false : [{ type: "text", data: { text: "🐱" } }, ...message],
    });
    await receive(groupMessage({ mentionsBot: true }));
    await receive(groupMessage({ mentionsBot: true, text: "在吗", groupId: 8 }));
    expect(napcat.sentTexts).toEqual(["🐱我在。发张图，或者直接问我吧。"]);
  });

  it.each(["beforeTrigger", "beforeModel", "afterModel"] as const)(
    "a %s that throws or hangs costs its own turn only, and what it threw is shown to nobody",
    async (name) => {
      for (const broken of [
        () => {
          throw new Error("CANARY");
        },
        () => new Promise<never>(() => {}),
      ]) {
        let first = true;
        const hook = () => {
          const isFirst = first;
          first = false;
          return isFirst ? broken() : undefined;
        };
        const { napcat, errors, logger, receive } = setUp({ [name]: hook, timeoutMs: 20 });
        await receive(privateMessage({ text: "一" }));
        await receive(privateMessage({ text: "二", userId: 7 }));
        expect(napcat.sentTexts).toEqual(["出错了，这次没能回答。", "一只猫。"]);
        expect(errors).toMatchObject([{ code: "hook-failed", hook: name }]);
        expect(JSON.stringify([logger.lines, napcat.sentTexts])).not.toContain("CANARY");
      }
    },
  );

  it("sends nothing that a broken beforeSend could not look at", async () => {
    const beforeSend = () => {
      throw new Error("CANARY");
    };
    const { napcat, errors, receive } = setUp({ beforeSend });
    await receive(privateMessage({ text: "一" }));
    expect(napcat.sent).toEqual([]);
    expect(errors).toMatchObject([{ code: "hook-failed", hook: "beforeSend" }]);
  });
});
