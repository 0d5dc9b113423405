// How answers are sent, through the whole bot.

import { afterEach, describe, expect, it, vi } from "vitest";
import { NapCatCalls } from "../../../src/bot/napcat/calls.ts";
import { Acknowledge } from "../../../src/bot/reply/acknowledge.ts";
import { Pacing } from "../../../src/bot/reply/pacing.ts";
import { FakeNapCat, groupMessage, privateMessage } from "../../../src/bot/testing.ts";
import type { FakeAnswers } from "../../../src/vlm/testing.ts";
import { readEvent } from "../../support/events.ts";
import { parseEvent } from "../../support/parse-event.ts";
import { type QuickBotOptions, quickBot } from "../../support/quick-bot.ts";

afterEach(() => void vi.useRealTimers());

const LONG = "这是一句话。".repeat(30);

const setUp = (answer: FakeAnswers, reply: QuickBotOptions["reply"] = {}) =>
  quickBot({ answer, reply });

const ask = (userId = 41, groupId = 7) =>
  groupMessage({ text: "？", mentionsBot: true, messageId: 5, userId, groupId });

describe("an answer", () => {
  it("is plain text, quotes and mentions as configured", async () => {
    const { napcat, receive } = setUp("**好**的。", { mention: "group", quote: "never" });
    await receive(ask());
    await receive(privateMessage({ text: "？" }));
    expect(napcat.sent.map(({ params }) => params.message)).toEqual([
      [
        { type: "at", data: { qq: "41" } },
        { type: "text", data: { text: " 好的。" } },
      ],
      [{ type: "text", data: { text: "好的。" } }],
    ]);
    const asIs = setUp("**好**的。", { markdown: "as-is" });
    await asIs.receive(ask());
    expect(asIs.napcat.sentTexts).toEqual(["**好**的。"]);
  });

  it.each([
    ["send_group_forward_msg", ask()],
    ["send_private_forward_msg", privateMessage({ text: "？" })],
  ])("that is long goes by %s", async (action, event) => {
    const { napcat, receive } = setUp(LONG, { maxCharacters: 100, forwardCharacters: 150 });
    napcat.answer(action, { message_id: 1, res_id: "x" });
    await receive(event);
    expect(napcat.calls.map((call) => call.action)).toEqual([action]);
    const nodes = napcat.calls[0]?.params.messages as {
      type: string;
      data: { content: { data: { text: string } }[] };
    }[];
    expect(nodes.map(({ type }) => type)).toEqual(["node", "node"]);
    expect(nodes.map(({ data }) => data.content[0]?.data.text).join("")).toBe(LONG);
  });

  it("goes in parts where a forward is refused, and is not repeated where nobody knows", async () => {
    const refused = setUp(LONG, { maxCharacters: 100, forwardCharacters: 150 });
    await refused.receive(ask());
    expect(refused.napcat.sentTexts.join("")).toBe(LONG);
    const unknown = setUp(LONG, { maxCharacters: 100, forwardCharacters: 150 });
    unknown.napcat.refuse(
      "send_group_forward_msg",
      String(readEvent("api_send_timeout_maybe_sent").message),
    );
    await unknown.receive(ask());
    expect(unknown.napcat.sent).toHaveLength(0);
    const temporary = setUp(LONG, { maxCharacters: 100, forwardCharacters: 150 });
    temporary.napcat.answer("get_stranger_info", ({ user_id }) => ({ user_id }));
    await temporary.receive({
      ...readEvent("private_temp_session"),
      time: Math.floor(Date.now() / 1000),
    });
    expect(temporary.napcat.calls.map(({ action }) => action)).not.toContain(
      "send_private_forward_msg",
    );
  });

  it("that has to wait behind many others is announced, once a minute and chat", async () => {
    const { napcat, bot } = setUp(() => new Promise(() => {}), {
      queueNoticeFrom: 2,
      queueNoticeAfterMs: 1,
    });
    for (const groupId of [1, 2, 3]) napcat.receive(ask(40 + groupId, groupId));
    napcat.receive({ ...ask(44, 3), message_id: 6 });
    while (napcat.sent.length === 0) await new Promise(setImmediate);
    await bot.close();
    expect(napcat.sentTexts).toEqual(["收到，前面还有2个问题，轮到了就回答。"]);
  });
});

describe("Acknowledge", () => {
  const options = { afterMs: 2000, receipt: "128064", done: "124", failed: "123" };

  function begin(event: object) {
    vi.useFakeTimers();
    const napcat = new FakeNapCat();
    for (const action of ["set_msg_emoji_like", "set_input_status"])
      napcat.answer(action, { result: 1 });
    const acknowledged = new Acknowledge(new NapCatCalls(napcat), options).begin(parseEvent(event));
    acknowledged.start();
    const seen = () =>
      napcat.calls.map(
        ({ params: { emoji_id, set, event_type } }) => event_type ?? [emoji_id, set],
      );
    return { napcat, acknowledged, seen };
  }

  it.each([
    [
      "done",
      [
        ["128064", true],
        ["128064", false],
        ["124", true],
      ],
    ],
    [
      "failed",
      [
        ["128064", true],
        ["128064", false],
        ["123", true],
      ],
    ],
    [
      "cancelled",
      [
        ["128064", true],
        ["128064", false],
      ],
    ],
  ] as const)(
    "puts an emoji on a question of a group and takes it off: %s",
    async (ending, expected) => {
      const { acknowledged, seen } = begin(ask());
      await vi.advanceTimersByTimeAsync(1999);
      expect(seen()).toEqual([]);
      await vi.advanceTimersByTimeAsync(1);
      acknowledged.end(ending);
      acknowledged.end("failed");
      await vi.advanceTimersByTimeAsync(0);
      expect(seen()).toEqual(expected);
    },
  );

  it("types in private, and stops", async () => {
    const { acknowledged, napcat, seen } = begin(privateMessage({ userId: 41 }));
    await vi.advanceTimersByTimeAsync(2000);
    acknowledged.end("done");
    await vi.advanceTimersByTimeAsync(0);
    expect(seen()).toEqual([1, 2]);
    expect(napcat.calls[0]?.params.user_id).toBe("41");
  });

  it("shows nothing for a quick answer, nor to strangers, and minds no refusal", async () => {
    const quick = begin(ask());
    quick.acknowledged.end("done");
    await vi.advanceTimersByTimeAsync(5000);
    const stranger = begin(readEvent("private_temp_session"));
    await vi.advanceTimersByTimeAsync(5000);
    expect([quick.seen(), stranger.seen()]).toEqual([[], []]);
    const refused = begin(ask());
    refused.napcat.refuse("set_msg_emoji_like", "no");
    await vi.advanceTimersByTimeAsync(2000);
    refused.acknowledged.end("done");
    await vi.advanceTimersByTimeAsync(0);
    expect(refused.seen()).toHaveLength(3);
  });
});

describe("Pacing", () => {
  it("keeps a distance between messages of a chat, and lets the first one go at once", () => {
    let now = 0;
    const pacing = new Pacing(
      { gapMs: 500, jitterMs: 500 },
      () => 0.5,
      () => now,
    );
    const here = { kind: "group", id: "7" } as const;
    expect([pacing.take(here), pacing.take(here), pacing.take(here)]).toEqual([0, 750, 1500]);
    expect(pacing.take({ kind: "private", id: "7" })).toBe(0);
    now = 10_000;
    expect(pacing.take(here)).toBe(0);
  });

  it("stops waiting when the turn ends", async () => {
    const pacing = new Pacing({ gapMs: 500_000, jitterMs: 0 });
    const here = { kind: "group", id: "7" } as const;
    pacing.take(here);
    const ending = new AbortController();
    const waiting = pacing.wait(here, ending.signal);
    ending.abort(new Error("recalled"));
    await expect(waiting).rejects.toThrow("recalled");
  });
});
