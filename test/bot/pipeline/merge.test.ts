// Messages of one person that follow one another are one question; two people are never merged.

import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { installVlm } from "../../../src/bot/install-vlm.ts";
import type { InstallVlmOptions } from "../../../src/bot/options.ts";
import {
  FakeNapCat,
  type GroupMessageOptions,
  groupMessage,
  privateMessage,
} from "../../../src/bot/testing.ts";
import type { WarmRequest } from "../../../src/vlm/index.ts";
import { FakeVisionLanguageModel } from "../../../src/vlm/testing.ts";
import { PIXEL_PNG, readEvent } from "../../support/events.ts";

const cleanups: (() => unknown)[] = [];
beforeEach(() => {
  vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout", "performance", "Date"] });
});
afterEach(async () => {
  vi.useRealTimers();
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

function setUp(options: Partial<InstallVlmOptions> = {}) {
  const napcat = new FakeNapCat();
  const model = new FakeVisionLanguageModel();
  const bot = installVlm(napcat, {
    model,
    systemPrompt: "",
    reply: { quote: "never" },
    ...options,
  });
  cleanups.push(() => bot.close());
  const asked = () => model.requests.map(({ messages }) => messages.at(-1)?.content);
  /** Lets time pass, and everything that is ready then happen. */
  const pass = async (ms: number) => {
    await vi.advanceTimersByTimeAsync(ms);
    for (let round = 0; round < 20; round++) await new Promise(setImmediate);
  };
  return { napcat, model, bot, asked, pass };
}

const at = (options: GroupMessageOptions) => groupMessage({ mentionsBot: true, ...options });
const picture = { type: "image", data: expect.any(Uint8Array) };

describe("the merge window", () => {
  it("makes one question of text and the picture that follows, and of a picture and its text", async () => {
    const { napcat, asked, pass } = setUp();
    napcat.receive(privateMessage({ text: "这是什么？" }));
    await pass(1000);
    napcat.receive(privateMessage({ images: [PIXEL_PNG] }));
    napcat.receive(privateMessage({ images: [PIXEL_PNG], userId: 7 }));
    await pass(1400);
    napcat.receive(privateMessage({ text: "这个呢？", userId: 7 }));
    expect(asked()).toEqual([]);
    await pass(1500);
    expect(asked()).toEqual([
      [picture, { type: "text", text: "这是什么？" }],
      [picture, { type: "text", text: "这个呢？" }],
    ]);
    expect(napcat.sent).toHaveLength(2);
  });

  it("takes what follows a mention in a group, though it mentions nobody", async () => {
    const { napcat, asked, pass } = setUp();
    napcat.receive(at({ text: "看看" }));
    await pass(500);
    napcat.receive(groupMessage({ images: [PIXEL_PNG] }));
    napcat.receive(groupMessage({ text: "像不像猫" }));
    await pass(1500);
    expect(asked()).toEqual([
      [{ type: "text", text: "小明：看看" }, picture, { type: "text", text: "像不像猫" }],
    ]);
  });

  it("makes one question of eight messages forwarded one by one, in their order", async () => {
    const { napcat, asked, pass } = setUp();
    for (let index = 1; index <= 8; index++) {
      napcat.receive(privateMessage({ text: `第${index}条` }));
      await pass(100);
    }
    await pass(1500);
    expect(asked()).toEqual(["第1条\n第2条\n第3条\n第4条\n第5条\n第6条\n第7条\n第8条"]);
    expect(napcat.sent).toHaveLength(1);
  });

  it("never merges two people, nor two chats of one", async () => {
    const { napcat, asked, pass } = setUp();
    napcat.receive(at({ text: "甲", userId: 1, nickname: "一" }));
    napcat.receive(at({ text: "乙", userId: 2, nickname: "二" }));
    napcat.receive(at({ text: "丙", userId: 1, nickname: "一", groupId: 8 }));
    napcat.receive(groupMessage({ text: "丁", userId: 2, nickname: "二" }));
    await pass(2000);
    expect(asked().toSorted()).toEqual(["一：丙", "一：甲", "二：乙\n丁"]);
  });

  it("ends after 6 s and after 10 pieces, however many more come", async () => {
    const { napcat, asked, pass } = setUp();
    for (let second = 0; second < 9; second++) {
      napcat.receive(privateMessage({ text: `${second}` }));
      await pass(1000);
    }
    expect(asked()).toEqual(["0\n1\n2\n3\n4\n5"]);
    await pass(2000);
    for (let index = 0; index < 12; index++) {
      napcat.receive(privateMessage({ text: `${index}`, userId: 7 }));
    }
    await pass(0);
    expect(asked().at(-1)).toBe("0\n1\n2\n3\n4\n5\n6\n7\n8\n9");
    await pass(1500);
    expect(asked().at(-1)).toBe("10\n11");
  });

  it("stays open while a picture is on its way", async () => {
    const { napcat, asked, pass } = setUp();
    let arrive = (_: unknown) => {};
    napcat.answer(
      "get_image",
      () =>
        new Promise((resolve) => {
          arrive = resolve;
        }),
    );
    const image = { type: "image", data: { file: "A8A63B4D63A08AED.jpg", url: "" } };
    napcat.receive({ ...privateMessage(), message: [image] });
    await pass(6500);
    napcat.receive(privateMessage({ text: "这是什么？" }));
    await pass(1000);
    expect(asked()).toEqual([]);
    arrive({ base64: Buffer.from(PIXEL_PNG).toString("base64") });
    await pass(0);
    expect(asked()).toEqual([[picture, { type: "text", text: "这是什么？" }]]);
  });

  it("is off with 0", async () => {
    const { napcat, asked, pass } = setUp({ merge: { windowMs: 0 } });
    napcat.receive(privateMessage({ text: "一" }));
    napcat.receive(privateMessage({ text: "二" }));
    await pass(0);
    expect(asked()).toEqual(["一", "二"]);
  });

  it("drops a piece that was taken back, and the question with its beginning or a picture", async () => {
    const { napcat, asked, pass } = setUp();
    const recall = (messageId: number, userId: number) =>
      napcat.receive({
        ...readEvent("notice_friend_recall"),
        user_id: userId,
        message_id: messageId,
      });
    for (const userId of [1, 2, 3]) {
      napcat.receive(privateMessage({ text: "问题", messageId: 10, userId }));
      napcat.receive(privateMessage({ text: "说错了", messageId: 11, userId }));
      napcat.receive(privateMessage({ images: [PIXEL_PNG], messageId: 12, userId }));
    }
    await pass(100);
    recall(10, 1);
    recall(11, 2);
    recall(12, 3);
    await pass(2000);
    expect(asked()).toEqual([[picture, { type: "text", text: "问题" }]]);
    expect(napcat.sent.map(({ params }) => params.user_id)).toEqual([2]);
  });

  it("takes a message whose recall came first for one that was never sent", async () => {
    const { napcat, asked, pass } = setUp();
    const recall = { ...readEvent("notice_friend_recall"), message_id: 11 };
    napcat.receive(recall);
    napcat.receive(privateMessage({ text: "说错了", messageId: 11 }));
    napcat.receive(privateMessage({ text: "一", messageId: 12 }));
    napcat.receive(privateMessage({ text: "二", messageId: 13 }));
    napcat.receive({ ...recall, message_id: 13 });
    await pass(2000);
    expect(asked()).toEqual(["一"]);
  });

  it("waits for a mention alone, and says it is there when nothing follows", async () => {
    const { napcat, asked, pass } = setUp();
    napcat.receive(at({}));
    await pass(1000);
    napcat.receive(groupMessage({ text: "在吗" }));
    napcat.receive(at({ userId: 7 }));
    await pass(2000);
    expect(asked()).toEqual(["小明：在吗"]);
    expect(napcat.sentTexts.toSorted()).toEqual(["好的。", "我在。发张图，或者直接问我吧。"]);
  });

  it("lets nothing overtake a message whose quote is being looked up", async () => {
    const { napcat, asked, pass } = setUp();
    napcat.answer("get_msg", async () => {
      await new Promise((resolve) => setTimeout(resolve, 300));
      return { ...readEvent("message_sent_group_self"), post_type: "message" };
    });
    napcat.receive(groupMessage({ text: "它几岁？", quotes: 1967422361 }));
    napcat.receive(groupMessage({ images: [PIXEL_PNG] }));
    napcat.receive(groupMessage({ text: "和这只比呢？" }));
    await pass(2000);
    expect(asked()).toHaveLength(1);
    const [content] = asked();
    expect(JSON.stringify(content)).toMatch(/它几岁？.*"image".*和这只比呢？/u);
  });
});

describe("computing ahead", () => {
  /** A bot whose model can be warmed. */
  function setUpWarm() {
    const parts = setUp();
    const warmed: WarmRequest[] = [];
    Object.assign(parts.model, {
      warm: async (request: WarmRequest) => void warmed.push(request),
    });
    return { ...parts, warmed };
  }

  it("warms the model with what is there while more may come, in the words in which it is asked", async () => {
    const { napcat, model, warmed, pass } = setUpWarm();
    napcat.receive(privateMessage({ images: [PIXEL_PNG] }));
    await pass(500);
    expect(warmed.map(({ messages }) => messages)).toEqual([
      [{ role: "user", content: [picture] }],
    ]);
    napcat.receive(privateMessage({ text: "这是什么？" }));
    await pass(500);
    expect(model.requests).toEqual([]);
    await pass(1500);
    expect(warmed.at(-1)?.messages).toEqual(model.requests[0]?.messages);
    expect(warmed.at(-1)?.chat).toBe(model.requests[0]?.chat);
  });

  it("warms the chat of somebody who types, once in a while, and starts no turn", async () => {
    const { napcat, model, warmed, pass } = setUpWarm();
    const typing = readEvent("notice_input_status");
    napcat.receive(typing);
    await pass(0);
    expect(warmed, "nothing was said yet").toEqual([]);
    napcat.receive(privateMessage({ text: "你好" }));
    await pass(61_000);
    warmed.length = 0;
    for (let index = 0; index < 500; index++) napcat.receive(typing);
    await pass(0);
    expect(warmed.map(({ messages }) => messages.length)).toEqual([3]);
    expect(model.requests).toHaveLength(1);
  });

  it("answers all the same when warming fails", async () => {
    const { napcat, model, pass } = setUp();
    Object.assign(model, { warm: () => Promise.reject(new Error("x")) });
    napcat.receive(privateMessage({ text: "你好" }));
    await pass(2000);
    expect(napcat.sentTexts).toEqual(["好的。"]);
  });
});
