import { describe, expect, it } from "vitest";
import { lookUpQuote } from "../../../src/bot/chat/quoted-message.ts";
import { NapCatCalls } from "../../../src/bot/napcat/calls.ts";
import { type IncomingMessage, parseMessageEvent } from "../../../src/bot/napcat/events.ts";
import { FakeNapCat, groupMessage } from "../../../src/bot/testing.ts";
import { readEvent } from "../../support/events.ts";

function parse(event: unknown): IncomingMessage {
  const parsed = parseMessageEvent(event);
  if (parsed.kind !== "message") throw new Error(parsed.kind);
  return parsed.message;
}

function setUp(messages: Readonly<Record<string, object>>) {
  const napcat = new FakeNapCat().answer("get_msg", ({ message_id: id }) => {
    const message = messages[String(id)];
    if (message === undefined) throw readEvent("api_get_msg_failed_unknown");
    return message;
  });
  return { napcat, calls: new NapCatCalls(napcat) };
}

const asking = parse(readEvent("group_reply_to_image_at_bot"));

describe("lookUpQuote", () => {
  it("finds the quoted message with its sender and pictures", async () => {
    const { calls } = setUp({ 1629673528: readEvent("api_get_msg_ok_image").data as object });
    const quote = await lookUpQuote(asking, calls);
    expect(quote).toMatchObject({
      kind: "found",
      message: { sender: { name: "小红" }, segments: [{ type: "image" }] },
      quoted: { kind: "none" },
    });
  });

  it("asks nothing when nothing was quoted", async () => {
    const { napcat, calls } = setUp({});
    await expect(lookUpQuote(parse(groupMessage()), calls)).resolves.toEqual({ kind: "none" });
    expect(napcat.calls).toEqual([]);
  });

  it("looks up a quote of a quote, and nothing deeper", async () => {
    const { napcat, calls } = setUp({
      1: groupMessage({ text: "一", quotes: 2, messageId: 1 }),
      2: groupMessage({ text: "二", quotes: 3, messageId: 2 }),
      3: groupMessage({ text: "三", messageId: 3 }),
    });
    const quote = await lookUpQuote(parse(groupMessage({ quotes: 1 })), calls);
    expect(quote).toMatchObject({
      message: { messageId: "1" },
      quoted: { kind: "found", message: { messageId: "2" }, quoted: { kind: "none" } },
    });
    expect(napcat.calls).toHaveLength(2);
  });

  it.each(["api_get_msg_failed_unknown", "api_get_msg_failed_recalled"])(
    "says lost when NapCat answers %s",
    async (fixture) => {
      const { napcat, calls } = setUp({});
      napcat.answer("get_msg", () => {
        throw readEvent(fixture);
      });
      await expect(lookUpQuote(asking, calls)).resolves.toEqual({ kind: "lost" });
    },
  );

  it.each([
    ["nothing", null],
    ["a message in string format", readEvent("group_message_string_format")],
    ["what was said in another chat", { ...readEvent("group_text"), group_id: 8 }],
  ])("says lost when the answer is %s", async (_name, answer) => {
    const { napcat, calls } = setUp({});
    napcat.answer("get_msg", () => answer);
    await expect(lookUpQuote(asking, calls)).resolves.toEqual({ kind: "lost" });
  });

  it("accepts the shorter answers of other implementations", async () => {
    const message = [{ type: "text", data: { text: "hi" } }];
    const { calls } = setUp({
      1629673528: { message, sender: { user_id: 3000000001, nickname: "看图猫" } },
    });
    await expect(lookUpQuote(asking, calls)).resolves.toMatchObject({
      kind: "found",
      message: { fromSelf: true, segments: [{ type: "text", text: "hi" }] },
    });
  });

  it("passes an abort on instead of calling it lost", async () => {
    const { napcat, calls } = setUp({});
    napcat.answer("get_msg", () => new Promise(() => {}));
    const controller = new AbortController();
    const quote = lookUpQuote(asking, calls, controller.signal);
    controller.abort("recalled");
    await expect(quote).rejects.toBe("recalled");
  });
});
