// Answers that are sent while they are written, through the whole bot.

import { afterEach, describe, expect, it } from "vitest";
import { installVlm } from "../../../src/bot/install-vlm.ts";
import type { InstallVlmOptions } from "../../../src/bot/options.ts";
import { BOT_ID, FakeNapCat, groupMessage } from "../../../src/bot/testing.ts";
import { FakeVisionLanguageModel } from "../../../src/vlm/testing.ts";
import type { StreamPart } from "../../../src/vlm/vision-language-model.ts";
import { FINISHED } from "../../support/finished.ts";
import { RecordingLogger } from "../../support/recording-logger.ts";

const cleanups: (() => Promise<void>)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

// Longer than any name that an answer might begin with: until then nothing of it is shown.
const FIRST = `第一句话${"很长".repeat(40)}，可以单独作为一条消息发出去。`;
const SECOND = "第二句话也足够长，可以单独作为一条消息发出去。";
const THIRD = "第三句话同样足够长，可以单独作为一条消息发出去。";

/** A model that writes a piece whenever it is told to. */
function setUp(options: Partial<InstallVlmOptions> = {}) {
  const napcat = new FakeNapCat();
  const steps: { next: () => void; reached: Promise<void> }[] = [];
  const step = (index: number) => {
    while (steps.length <= index) {
      let next = () => {};
      const reached = new Promise<void>((resolve) => {
        next = resolve;
      });
      steps.push({ next, reached });
    }
    return steps[index]!;
  };
  async function* written(): AsyncGenerator<StreamPart> {
    for (const [index, text] of [FIRST, SECOND, `${THIRD}完`].entries()) {
      await step(index).reached;
      yield { type: "text-delta", text };
    }
    await step(3).reached;
    yield FINISHED;
  }
  const model = new FakeVisionLanguageModel({
    answer: (_request, index) => (index === 0 ? written() : "好。"),
  });
  const bot = installVlm(napcat, {
    model,
    logger: new RecordingLogger(),
    systemPrompt: "",
    merge: { windowMs: 0 },
    ...options,
    reply: { stream: true, gapMs: 0, jitterMs: 0, ...options.reply },
  });
  cleanups.push(() => bot.close());
  const until = async (condition: () => boolean) => {
    while (!condition()) await new Promise(setImmediate);
  };
  const write = (index: number) => step(index).next();
  /** What the model is shown of the past when it is asked once more. */
  const past = async () => {
    const before = model.requests.length;
    napcat.receive(groupMessage({ text: "然后呢", mentionsBot: true }));
    await until(() => model.requests.length > before);
    return model.requests
      .at(-1)
      ?.messages.slice(0, -1)
      .map(({ content }) => content);
  };
  return { napcat, bot, model, write, until, past };
}

const question = () =>
  groupMessage({ text: "？", mentionsBot: true, messageId: 5, nickname: "甲" });

describe("a streamed answer", () => {
  it("is sent while it is written, quotes the question once, and is remembered whole", async () => {
    const { napcat, bot, write, until, past } = setUp();
    napcat.receive(question());
    write(0);
    // What follows shows that the sentence is whole.
    write(1);
    await until(() => napcat.sent.length === 1);
    write(2);
    await until(() => napcat.sent.length === 2);
    write(3);
    await bot.idle();
    expect(napcat.sentTexts.join("")).toBe(`${FIRST}${SECOND}${THIRD}完`);
    expect(napcat.sentTexts[0]).toBe(FIRST);
    const quotes = napcat.sent.map(({ params }) =>
      JSON.stringify(params.message).includes("reply"),
    );
    expect(quotes).toEqual([true, ...quotes.slice(1).map(() => false)]);
    expect(await past()).toEqual(["甲：？", `${FIRST}${SECOND}${THIRD}完`]);
  });

  it.each<[string, (napcat: FakeNapCat) => void, unknown[]]>([
    ["stopped", (napcat) => napcat.receive(groupMessage({ text: "/stop" })), ["甲：？", FIRST]],
    [
      "taken back",
      (napcat) =>
        napcat.receive({
          post_type: "notice",
          notice_type: "group_recall",
          self_id: BOT_ID,
          group_id: 700000003,
          user_id: 1000000002,
          message_id: 5,
        }),
      [],
    ],
  ])(
    "that is %s says nothing more, and only what was said is remembered",
    async (_how, end, expected) => {
      const { napcat, bot, write, until, past } = setUp();
      napcat.receive(question());
      write(0);
      write(1);
      await until(() => napcat.sent.length === 1);
      end(napcat);
      for (const index of [2, 3]) write(index);
      await bot.idle();
      expect(napcat.sentTexts.filter((text) => text.includes("句话"))).toEqual([FIRST]);
      expect(await past()).toEqual(expected);
    },
  );

  it("keeps the pace of the chat: what is ready while a message waits goes with the next one", async () => {
    const { napcat, bot, write } = setUp({ reply: { gapMs: 300 } });
    napcat.receive(question());
    for (const index of [0, 1, 2, 3]) write(index);
    await bot.idle();
    expect(napcat.sentTexts.length).toBeLessThanOrEqual(3);
    expect(napcat.sentTexts.join("")).toBe(`${FIRST}${SECOND}${THIRD}完`);
  });

  it("ends with the first message that fails, and sends nothing twice", async () => {
    const errors: unknown[] = [];
    const { napcat, bot, write, until } = setUp({ onError: (error) => void errors.push(error) });
    napcat.refuse("send_group_msg", "不行");
    napcat.receive(question());
    write(0);
    write(1);
    await until(() => napcat.sent.length === 1);
    for (const index of [2, 3]) write(index);
    await bot.idle();
    expect(napcat.sent).toHaveLength(1);
    expect(errors).toHaveLength(1);
  });

  it("waits for its end where the host program reads it first", async () => {
    const { napcat, bot, write } = setUp({ hooks: { afterModel: () => "改过" } });
    napcat.receive(question());
    for (const index of [0, 1, 2, 3]) write(index);
    await bot.idle();
    expect(napcat.sentTexts).toEqual(["改过"]);
  });
});
