// Every cause that ends a turn, at every stage of its way: nothing is sent afterwards, the place is free, the past clean.

import { afterEach, describe, expect, it } from "vitest";
import { installVlm } from "../../../src/bot/install-vlm.ts";
import { FakeNapCat, groupMessage } from "../../../src/bot/testing.ts";
import { FakeVisionLanguageModel } from "../../../src/vlm/testing.ts";
import { PIXEL_PNG, readEvent } from "../../support/events.ts";
import { startPictureServer } from "../../support/picture-server.ts";
import { RecordingLogger } from "../../support/recording-logger.ts";

const cleanups: (() => unknown)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

const MESSAGE_ID = 1629673528;
const QUOTED_ID = 1629673529;
const ANSWER = ["第一段说的是一只橘色的猫。", "第二段说的是另一只黑色的猫。"];

/** A bot whose model answers in two parts; each stage can be made to last until it is let go. */
async function setUp(merge = { windowMs: 0 }) {
  const napcat = new FakeNapCat();
  let blockedQuestion: string | undefined;
  let answering = () => {};
  const answers = new Promise<void>((resolve) => {
    answering = resolve;
  });
  const model = new FakeVisionLanguageModel({
    answer: async ({ messages }) => {
      if (!JSON.stringify(messages.at(-1)).includes(blockedQuestion ?? "\0"))
        return ANSWER.join("\n\n");
      answering();
      return new Promise<never>(() => {});
    },
  });
  const pictures = await startPictureServer({ "/slow": () => {} });
  cleanups.push(() => pictures.close());
  const logger = new RecordingLogger();
  const errors: unknown[] = [];
  const bot = installVlm(napcat, {
    model,
    logger,
    systemPrompt: "",
    maxMessageAgeMs: Infinity,
    merge,
    reply: { maxCharacters: 20 },
    images: { extraHosts: [pictures.host], allowPrivateAddresses: true },
    onError: (error) => void errors.push(error),
  });
  cleanups.push(() => bot.close());
  const block = (question: string) => {
    blockedQuestion = question;
    return answers;
  };
  return { napcat, model, pictures, bot, errors, block };
}

type Parts = Awaited<ReturnType<typeof setUp>>;

const question = (more: object = {}) =>
  groupMessage({ mentionsBot: true, text: "问题", messageId: MESSAGE_ID, ...more });

/** Brings the turn of `question` to a stage, and says how the stage would have gone on. */
const STAGES: Readonly<Record<string, (parts: Parts) => Promise<void>>> = {
  merging: async ({ napcat }) => {
    napcat.receive(question());
    await new Promise(setImmediate);
  },
  waiting: async ({ napcat, block }) => {
    const blocked = block("先来的");
    napcat.receive(groupMessage({ mentionsBot: true, text: "先来的", userId: 5 }));
    await blocked;
    napcat.receive(question());
  },
  "looking up the quote": async ({ napcat }) => {
    const asked = new Promise<void>((resolve) => {
      napcat.answer("get_msg", () => {
        resolve();
        return new Promise(() => {});
      });
    });
    napcat.receive(question({ quotes: QUOTED_ID }));
    await asked;
  },
  downloading: async ({ napcat, pictures }) => {
    const event = question();
    const image = { type: "image", data: { file: "A.png", url: pictures.url("/slow") } };
    napcat.receive({ ...event, message: [...(event.message as object[]), image] });
    while (pictures.requests.length === 0) await new Promise(setImmediate);
  },
  answering: async ({ napcat, block }) => {
    const blocked = block("问题");
    napcat.receive(question());
    await blocked;
  },
  "between two parts": async ({ napcat }) => {
    let sent = () => {};
    napcat.answer("send_group_msg", async () => {
      sent();
      await new Promise(setImmediate);
      return { message_id: 1 };
    });
    const firstPart = new Promise<void>((resolve) => {
      sent = resolve;
    });
    napcat.receive(question());
    await firstPart;
  },
};

const CAUSES: Readonly<Record<string, (parts: Parts) => void>> = {
  recalled: ({ napcat }) => napcat.receive(readEvent("notice_group_recall")),
  "muted bot": ({ napcat }) => napcat.receive(readEvent("notice_group_ban_bot")),
  "muted group": ({ napcat }) => napcat.receive(readEvent("notice_group_ban_all")),
  "muted asker": ({ napcat }) =>
    napcat.receive({ ...readEvent("notice_group_ban_bot"), user_id: 1000000002 }),
  kicked: ({ napcat }) => napcat.receive(readEvent("notice_group_decrease_kick_me")),
  disbanded: ({ napcat }) => napcat.receive(readEvent("notice_group_decrease_disband")),
  offline: ({ napcat }) => napcat.receive(readEvent("notice_bot_offline")),
  "offline by heartbeat": ({ napcat }) => napcat.receive(readEvent("meta_heartbeat_offline")),
  shutdown: ({ bot }) => void bot.close(),
};

const CASES = Object.keys(STAGES).flatMap((stage) =>
  Object.keys(CAUSES).map((cause) => [cause, stage] as const),
);

describe("a turn that is cancelled", () => {
  it.each(CASES)("by %s while %s says nothing more", async (cause, stage) => {
    const parts = await setUp({ windowMs: stage === "merging" ? 60_000 : 0 });
    const { napcat, bot, errors } = parts;
    await STAGES[stage]?.(parts);
    const sent = napcat.sent.length;
    CAUSES[cause]?.(parts);
    // In the one stage where somebody else is being answered, that turn goes on for ever.
    if (stage === "waiting") await bot.close();
    await bot.idle();
    expect(napcat.sent.length).toBe(sent);
    expect(errors).toEqual([]);
  });

  it("leaves its place to the next one and nothing in the past", async () => {
    const parts = await setUp();
    const { napcat, model, bot } = parts;
    await STAGES["between two parts"]?.(parts);
    napcat.receive(readEvent("notice_group_recall"));
    await bot.idle();
    napcat.receive(groupMessage({ mentionsBot: true, text: "下一个" }));
    await bot.idle();
    expect(model.requests.at(-1)?.messages).toHaveLength(1);
    expect(JSON.stringify(model.requests.at(-1)?.messages)).not.toContain("问题");
  });

  it("by a send that says the bot is no member ends what waits in that chat", async () => {
    const parts = await setUp();
    const { napcat, model, bot } = parts;
    napcat.refuse(
      "send_group_msg",
      String(readEvent("api_send_failed_removed_from_group").message),
    );
    napcat.receive(question());
    napcat.receive(groupMessage({ mentionsBot: true, text: "第二个", userId: 6 }));
    napcat.receive(groupMessage({ mentionsBot: true, text: "别的群", groupId: 8 }));
    await bot.idle();
    napcat.receive(groupMessage({ mentionsBot: true, text: "第三个", userId: 7 }));
    await bot.idle();
    const asked = model.requests.map(({ messages }) => String(messages.at(-1)?.content));
    expect(asked.toSorted()).toEqual(["小明：别的群", "小明：问题"]);
    expect(napcat.sent).toHaveLength(2);
  });

  it("is forgotten when it is recalled long after its answer, also by the picture it quoted", async () => {
    const { napcat, model, bot } = await setUp();
    napcat.answer("get_msg", groupMessage({ images: [PIXEL_PNG], messageId: QUOTED_ID }));
    napcat.receive(question({ quotes: QUOTED_ID }));
    await bot.idle();
    napcat.receive({ ...readEvent("notice_group_recall"), message_id: QUOTED_ID });
    napcat.receive(groupMessage({ mentionsBot: true, text: "下一个" }));
    await bot.idle();
    expect(model.requests.at(-1)?.messages).toHaveLength(1);
  });

  it("is somebody else's business when a message of another chat with the same number is recalled", async () => {
    const parts = await setUp();
    const { napcat, bot } = parts;
    napcat.receive({ ...readEvent("notice_group_recall"), group_id: 8 });
    napcat.receive(question());
    napcat.receive({ ...readEvent("notice_group_recall"), group_id: 8 });
    await bot.idle();
    expect(napcat.sentTexts).toEqual(ANSWER);
  });
});
