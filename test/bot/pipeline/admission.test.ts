// What happens to a question while another one is being answered, for each policy of its chat.

import { afterEach, describe, expect, it } from "vitest";
import { installVlm } from "../../../src/bot/install-vlm.ts";
import type { InstallVlmOptions } from "../../../src/bot/options.ts";
import { FakeNapCat, groupMessage, privateMessage } from "../../../src/bot/testing.ts";
import { FakeVisionLanguageModel } from "../../../src/vlm/testing.ts";
import { RecordingLogger } from "../../support/recording-logger.ts";

const cleanups: (() => unknown)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

/** A bot whose model answers a question with its last character, as soon as it is let. */
function setUp(options: Partial<InstallVlmOptions>) {
  const napcat = new FakeNapCat();
  const gates = new Map<string, () => void>();
  const model = new FakeVisionLanguageModel({
    answer: async ({ messages }) => {
      const name = String(messages.at(-1)?.content).slice(-1);
      await new Promise<void>((resolve) => gates.set(name, resolve));
      return name;
    },
  });
  const bot = installVlm(napcat, {
    model,
    logger: new RecordingLogger(),
    merge: { windowMs: 0 },
    reply: { gapMs: 0, jitterMs: 0, queueNoticeFrom: 0 },
    ...options,
  });
  cleanups.push(() => bot.close());
  const until = async (condition: () => boolean) => {
    while (!condition()) await new Promise(setImmediate);
  };
  const open = async (name: string) => {
    await until(() => gates.has(name));
    gates.get(name)?.();
  };
  const ask = (text: string, userId: number, groupId = 1) =>
    napcat.receive(groupMessage({ mentionsBot: true, text, userId, groupId }));
  return { napcat, model, bot, ask, open, until };
}

describe("the policy of a chat", () => {
  it("queue: answers one after the other", async () => {
    const { napcat, bot, ask, open } = setUp({});
    ask("1", 5);
    ask("2", 5);
    await open("1");
    await open("2");
    await bot.idle();
    expect(napcat.sentTexts).toEqual(["1", "2"]);
  });

  it("replace: the newest question of a person takes the place of the earlier ones, running or waiting", async () => {
    const { napcat, model, bot, ask, open, until } = setUp({ queuePolicy: "replace" });
    ask("1", 5);
    await until(() => model.requests.length === 1);
    ask("a", 6);
    ask("2", 5);
    ask("3", 5);
    await open("a");
    await open("3");
    await bot.idle();
    expect(napcat.sentTexts).toEqual(["a", "3"]);
  });

  it("reject: tells whoever asks meanwhile to come back, once in a while", async () => {
    const { napcat, bot, ask, open, until } = setUp({
      chats: { "group:1": { queuePolicy: "reject" } },
    });
    ask("1", 5);
    ask("2", 6);
    ask("3", 7);
    ask("4", 5, 8);
    ask("5", 5, 8);
    await until(() => napcat.sent.length === 1);
    expect(napcat.sentTexts).toEqual(["现在有点忙，稍后再问我吧。"]);
    for (const name of ["1", "4", "5"]) await open(name);
    await bot.idle();
    expect(napcat.sentTexts.slice(1).toSorted()).toEqual(["1", "4", "5"]);
  });

  it("takes the settings of the chat itself, then those of its kind", async () => {
    const { napcat, model, bot, ask, open } = setUp({
      triggers: { group: [] },
      chats: {
        "group:*": { triggers: { group: ["any"] } },
        "group:8": { triggers: { keywords: ["猫"], group: ["keyword"] } },
        "private:*": { triggers: { private: false } },
      },
    });
    ask("猫1", 5, 8);
    napcat.receive(groupMessage({ text: "狗2", groupId: 8 }));
    napcat.receive(groupMessage({ text: "狗3", groupId: 9 }));
    napcat.receive(privateMessage({ text: "在吗4" }));
    await open("1");
    await open("3");
    await bot.idle();
    expect(model.requests).toHaveLength(2);
  });
});

describe("fairness", () => {
  it("tells the model whose question it is and how urgent", async () => {
    const { napcat, model, bot, ask, open, until } = setUp({
      admins: ["5"],
      priority: { private: 10, admins: 95 },
    });
    ask("1", 6);
    ask("2", 5, 8);
    napcat.receive(privateMessage({ text: "3", userId: 6 }));
    napcat.receive(privateMessage({ text: "4", userId: 5 }));
    await until(() => model.requests.length === 4);
    const seen = model.requests.map(({ chat, priority }) => [chat, priority]);
    expect(seen.toSorted()).toEqual([
      ["group:1", 0],
      ["group:8", 95],
      ["private:5", 100],
      ["private:6", 10],
    ]);
    for (const name of ["1", "2", "3", "4"]) await open(name);
    await bot.idle();
  });

  it("lets no chat with many questions keep another one waiting", async () => {
    const { napcat, bot, ask, open, until } = setUp({ maxQueuePerChat: 9 });
    for (const name of ["1", "2", "3", "4"]) ask(name, 5, 1);
    ask("a", 6, 8);
    await open("a");
    await until(() => napcat.sent.length === 1);
    for (const name of ["1", "2", "3", "4"]) await open(name);
    await bot.idle();
    expect(napcat.sentTexts).toEqual(["a", "1", "2", "3", "4"]);
  });
});

describe("a poke", () => {
  const poke = {
    post_type: "notice",
    notice_type: "notify",
    sub_type: "poke",
    self_id: 3000000001,
    target_id: 3000000001,
    user_id: 5,
    group_id: 1,
  };

  it("is answered where pokes are a trigger, and quotes nothing", async () => {
    const { napcat, bot } = setUp({ triggers: { group: ["poke"] } });
    napcat.receive(poke);
    await bot.idle();
    expect(napcat.sent.map(({ params }) => params.message)).toEqual([
      [{ type: "text", data: { text: "我在。发张图，或者直接问我吧。" } }],
    ]);
  });

  it("is nothing elsewhere, and nothing while the bot is muted", async () => {
    const { napcat, bot } = setUp({});
    napcat.receive(poke);
    await bot.idle();
    expect(napcat.calls).toEqual([]);
  });
});
