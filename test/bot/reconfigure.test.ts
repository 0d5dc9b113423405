// Other options for a bot that runs, through the whole bot: what holds for the next message, and what goes on.

import { afterEach, describe, expect, it, vi } from "vitest";
import type { BotChanges } from "../../src/bot/bot-changes.ts";
import { installVlm } from "../../src/bot/install-vlm.ts";
import { FakeNapCat, groupMessage, privateMessage } from "../../src/bot/testing.ts";
import { type FakeAnswers, FakeVisionLanguageModel } from "../../src/vlm/testing.ts";
import { RecordingLogger } from "../support/recording-logger.ts";

const cleanups: (() => Promise<void>)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

const QUIET: BotChanges = { merge: { windowMs: 0 }, reply: { gapMs: 0, jitterMs: 0 } };

function setUp(answer: FakeAnswers = "好的。", options: BotChanges = {}) {
  const napcat = new FakeNapCat();
  const model = new FakeVisionLanguageModel({ answer });
  const bot = installVlm(napcat, { model, logger: new RecordingLogger(), ...QUIET, ...options });
  cleanups.push(() => bot.close());
  const receive = async (event: object) => {
    const before = napcat.sent.length;
    napcat.receive(event);
    await bot.idle();
    return napcat.sentTexts.slice(before);
  };
  return { napcat, model, bot, receive };
}

const ask = (text = "在吗？", more = {}) =>
  groupMessage({ mentionsBot: true, groupId: 7, userId: 41, text, ...more });

describe("bot.reconfigure", () => {
  it("holds for the next message: triggers, chats, access, limits, phrases, persona, commands, reply", async () => {
    const { model, bot, receive, napcat } = setUp();
    expect(await receive(groupMessage({ groupId: 7, text: "小猫在吗" }))).toEqual([]);
    bot.reconfigure({ ...QUIET, triggers: { nicknames: ["小猫"] } });
    expect(await receive(groupMessage({ groupId: 7, text: "小猫在吗" }))).toEqual(["好的。"]);

    bot.reconfigure({ ...QUIET, chats: { "group:7": { triggers: { group: ["poke"] } } } });
    expect(await receive(ask())).toEqual([]);

    bot.reconfigure({ ...QUIET, access: { groups: { deny: ["7"] } } });
    expect(await receive(ask())).toEqual([]);
    bot.reconfigure({ ...QUIET, access: { users: { allow: ["4?"] } } });
    expect(await receive(ask())).toEqual(["好的。"]);

    bot.reconfigure({ ...QUIET, limits: { personPerMinute: 1 }, phrases: { tooOften: "慢一点" } });
    expect(await receive(ask())).toEqual(["好的。"]);
    expect(await receive(ask())).toEqual(["慢一点"]);
    bot.reconfigure({ ...QUIET, limits: { personPerMinute: 1 }, admins: ["41"] });
    expect(await receive(ask())).toEqual(["好的。"]);

    bot.reconfigure({ ...QUIET, systemPrompt: "你是猫。", maxTokens: 7 });
    await receive(ask());
    expect(model.requests.at(-1)).toMatchObject({
      maxTokens: 7,
      messages: expect.arrayContaining([{ role: "system", content: "你是猫。" }]),
    });

    bot.reconfigure({ ...QUIET, commands: { prefix: "#" } });
    expect((await receive(ask("#帮助")))[0]).toContain("#help");
    bot.reconfigure({ ...QUIET, commands: { enabled: false } });
    expect(await receive(privateMessage({ text: "/帮助" }))).toEqual(["好的。"]);

    bot.reconfigure({ ...QUIET, reply: { ...QUIET.reply, quote: "never" } });
    await receive(ask());
    expect(JSON.stringify(napcat.sent.at(-1)?.params.message)).not.toContain('"reply"');
  });

  it("takes a default again where an option is left out", async () => {
    const { bot, receive } = setUp("好的。", { access: { groups: { allow: [] } } });
    expect(await receive(ask())).toEqual([]);
    bot.reconfigure(QUIET);
    expect(await receive(ask())).toEqual(["好的。"]);
  });

  it("loses no turn that runs or waits, and no past", async () => {
    let answer: (text: string) => void = () => {};
    const first = new Promise<string>((resolve) => {
      answer = resolve;
    });
    const { napcat, model, bot } = setUp((_request, index) => (index === 0 ? first : "第二"));
    napcat.receive(ask("一"));
    napcat.receive(ask("二"));
    await vi.waitFor(async () => {
      const { turns } = await bot.watched.status();
      expect(turns.map(({ stage }) => stage)).toEqual(["answering", "waiting"]);
    }, 60_000);
    bot.reconfigure({ ...QUIET, triggers: { group: [] }, maxQueuePerChat: 0, systemPrompt: "新" });
    napcat.receive(ask("三"));
    answer("第一");
    await bot.idle();
    expect(napcat.sentTexts).toEqual(["第一", "第二"]);
    expect(JSON.stringify(model.requests.at(-1)?.messages)).toContain("第一");
  });

  it("keeps what people changed by commands, and commands the host registered", async () => {
    const { bot, receive } = setUp("好的。", { admins: ["41"] });
    bot.commands.register({ names: ["ping"], run: () => "pong" });
    await receive(ask("/mute"));
    bot.reconfigure({ ...QUIET, admins: ["41"], limits: { groupPerMinute: 5 } });
    expect(await receive(ask())).toEqual([]);
    expect(await receive(ask("/ping"))).toEqual(["pong"]);
  });

  it("changes nothing where an option is wrong, and names them all", async () => {
    const { bot, receive } = setUp();
    const wrong = { limits: { personPerMinute: -1 }, access: { groups: { allow: [] } }, x: 1 };
    expect(() => bot.reconfigure({ ...QUIET, ...wrong })).toThrow(
      /`limits.personPerMinute`[\s\S]*`x`/,
    );
    expect(await receive(ask())).toEqual(["好的。"]);
  });

  it("says what only a restart changes, and shows on the status page what holds now", async () => {
    const { bot } = setUp();
    const changed = bot.reconfigure({ ...QUIET, history: { maxChats: 3, maxTurns: 4 } });
    expect(changed).toEqual(["history.maxChats"]);
    expect(bot.reconfigure({ ...QUIET, history: { maxChats: 3 } })).toEqual([]);
    bot.reconfigure({ ...QUIET, admins: ["10001"], limits: { personPerMinute: 9 } });
    expect((await bot.watched.status()).settings).toMatchObject({
      admins: ["10001"],
      limits: { personPerMinute: 9 },
    });
  });
});
