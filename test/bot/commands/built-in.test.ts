// Every command, through the whole bot.

import { describe, expect, it } from "vitest";
import { DEFAULT_PHRASES } from "../../../src/bot/reply/phrases.ts";
import { groupMessage, privateMessage } from "../../../src/bot/testing.ts";
import type { FakeAnswers, FakeVisionLanguageModel } from "../../../src/vlm/testing.ts";
import { PIXEL_PNG, readEvent } from "../../support/events.ts";
import { type QuickBotOptions, quickBot } from "../../support/quick-bot.ts";

const ADMIN = 9;
const phrases = DEFAULT_PHRASES;

function setUp(answer: FakeAnswers = "好的。", options: QuickBotOptions = {}) {
  const made = quickBot({ answer, admins: [String(ADMIN)], ...options });
  const { napcat } = made;
  /** The last thing that was said. */
  const last = () => napcat.sentTexts.at(-1);
  const until = async (done: () => boolean) => {
    while (!done()) await new Promise(setImmediate);
  };
  return { ...made, last, until };
}

const say = (text: string, userId = 41) => groupMessage({ text, userId });
const ask = (text: string, userId = 41) => groupMessage({ text, userId, mentionsBot: true });
const byOwner = (text: string) => {
  const event = groupMessage({ text, userId: 5 });
  return { ...event, sender: { ...(event.sender as object), role: "owner" } };
};

describe("commands while the model is busy and the queue is full", () => {
  const busy = () =>
    setUp(() => new Promise(() => {}), {
      maxQueue: 1,
      maxQueuePerChat: 1,
      commands: { onReload: () => {} },
    });

  it.each([
    ["/帮助", phrases.helpTitle],
    ["/help", phrases.helpTitle],
    ["／帮助", phrases.helpTitle],
    ["/重置", phrases.resetDone],
    ["/new", phrases.resetDone],
    ["/reset", phrases.resetDone],
    ["/stop", phrases.nothingToStop],
    ["/停止 全部", phrases.stopped],
    ["/undo", phrases.nothingToUndo],
    ["/撤销", phrases.nothingToUndo],
    ["/retry", phrases.nothingToRetry],
    ["/重试", phrases.nothingToRetry],
    ["/history", phrases.nothingRemembered],
    ["/历史 3", phrases.nothingRemembered],
    ["/forget", phrases.forgotPerson],
    ["/忘记 全部", phrases.forgotChat],
    ["/persona", "现在是默认人设。"],
    ["/人设 你是一只猫", "好的，从现在起就这样。"],
    ["/status", "正在回答1个问题，1个在等。这里：正常。"],
    ["/状态", "正在回答1个问题，1个在等。这里：正常。"],
    ["/stats", "已运行"],
    ["/统计", "已运行"],
    ["/mute", "好的，我先不说话了。"],
    ["/闭嘴 30分钟", "好的，我安静30分钟。"],
    ["/unmute", phrases.unmutedHere],
    ["/说话", phrases.unmutedHere],
    ["/allow", phrases.allowedHere],
    ["/启用", phrases.allowedHere],
    ["/deny", phrases.deniedHere],
    ["/停用", phrases.deniedHere],
    ["/reload", phrases.reloaded],
    ["/重载", phrases.reloaded],
  ])("answers %s", async (typed, start) => {
    const { napcat, model, until } = busy();
    for (const userId of [41, 42, 43]) napcat.receive(ask("？", userId));
    await until(() => model.requests.length === 1 && napcat.sent.length === 1);
    expect(napcat.sentTexts).toEqual([phrases.busy]);
    napcat.receive(say(typed, ADMIN));
    await until(() => napcat.sent.length === 2);
    expect(napcat.sentTexts[1]?.startsWith(start), napcat.sentTexts[1]).toBe(true);
    expect(model.requests).toHaveLength(1);
  });
});

describe("/help", () => {
  it("lists what somebody may use, with what it does", async () => {
    const own = { names: ["天气", "weather"], summary: "今天的天气", run: () => "晴。" };
    const { receive, last } = setUp("", {
      commands: { own: [own], permissions: { stats: "everybody" } },
    });
    await receive(say("/帮助"));
    expect(last()).toContain("/停止 /stop：");
    expect(last()).toContain("/统计 /stats：");
    expect(last()).toContain("/天气 /weather：今天的天气");
    expect(last()).not.toMatch(/mute|persona|reload/u);
    await receive(byOwner("/帮助"));
    expect(last()).toContain("/mute");
    expect(last()).not.toContain("/reload");
    await receive(say("/帮助", ADMIN));
    expect(last()?.split("\n")).toHaveLength(17);
    const lines = last()?.split("\n").slice(1) ?? [];
    expect(lines.filter((line) => !/^\S+ [^\s：]+：./u.test(line))).toEqual([]);
  });
});

describe("/status", () => {
  it("does not count to zero", async () => {
    const { receive, last } = setUp();
    await receive(say("/状态"));
    expect(last()).toBe("现在没有问题要回答。这里：正常。");
  });

  it("tells whether the bot is silent here, or does not serve this chat, as a command or a list says", async () => {
    const { receive, last } = setUp("", { access: { groups: { deny: ["800*"] } } });
    const here = () => /这里：(.*)。$/u.exec(last() ?? "")?.[1];
    await receive(say("/闭嘴", ADMIN), say("/状态", ADMIN));
    expect(here()).toBe("已让我闭嘴");
    await receive(say("/停用", ADMIN), say("/状态", ADMIN));
    expect(here()).toBe("未启用");
    await receive(say("/启用", ADMIN), say("/说话", ADMIN), say("/状态", ADMIN));
    expect(here()).toBe("正常");
    const elsewhere = (text: string) => groupMessage({ text, userId: ADMIN, groupId: 800_000_001 });
    await receive(elsewhere("/状态"));
    expect(here()).toBe("未启用");
  });
});

describe("/history", () => {
  it("shows the latest questions and answers, cut short, as many as are asked for", async () => {
    const { receive, last } = setUp(({ messages }) => `答${messages.length}`);
    await receive(ask("一".repeat(100)), ask("二"), ask("三"));
    await receive(say("/history 2"));
    expect(last()).toMatch(/^小明：二\n答：.*\n\n小明：三\n答：.*$/u);
    await receive(say("/历史"));
    expect(last()).toMatch(/^小明：一+…\n答：/u);
    expect(last()?.match(/^小明：/gmu)).toHaveLength(3);
  });

  it("shows nobody in a group what was asked in private, though both have one past", async () => {
    const { receive, last } = setUp("好。", { isolation: "person" });
    await receive(privateMessage({ text: "只对你说", userId: 41 }));
    await receive(say("/history"));
    expect(last()).toBe(phrases.nothingRemembered);
    await receive(ask("大家都听"), say("/history"));
    expect(last()).toContain("大家都听");
    expect(last()).not.toContain("只对你说");
  });
});

describe("permissions", () => {
  it.each([
    "/mute",
    "/unmute",
    "/persona 猫",
    "/stats",
    "/allow",
    "/deny",
    "/reload",
    "/stop 全部",
    "/forget all",
  ])("keeps %s from ordinary members, a missing role included", async (typed) => {
    const { receive, last } = setUp();
    await receive(say(typed));
    expect(last()).toBe(phrases.commandDenied);
    const { self_id, ...event } = readEvent("group_no_role_sender");
    await receive({
      ...event,
      self_id,
      message: [{ type: "text", data: { text: typed } }],
      time: Math.floor(Date.now() / 1000),
    });
    expect(last()).toBe(phrases.commandDenied);
  });

  it("lets the host change them, by any name, and refuses those of commands that are none", async () => {
    const { receive, last } = setUp("", { commands: { permissions: { 重置: "admin" } } });
    await receive(say("/reset"));
    expect(last()).toBe(phrases.commandDenied);
    expect(() => setUp("", { commands: { permissions: { rest: "admin" } } })).toThrow(/commands/);
    expect(() => setUp("", { commands: { permissions: { reset: "root" as never } } })).toThrow(
      /admin/,
    );
  });

  it("ignores somebody who types too many", async () => {
    const { napcat, receive } = setUp("", { limits: { commandsPerMinute: 3 } });
    await receive(...Array.from({ length: 9 }, () => say("/帮助")));
    expect(napcat.sent).toHaveLength(3);
  });
});

describe("/reset, /undo and /forget", () => {
  /** What the model was told of before. */
  const past = (model: FakeVisionLanguageModel) =>
    model.requests.at(-1)?.messages.filter(({ role }) => role === "assistant").length;

  it("begin anew", async () => {
    const { model, receive } = setUp();
    await receive(ask("一"), ask("二"));
    expect(past(model)).toBe(1);
    await receive(say("/reset"), ask("三"));
    expect(past(model)).toBe(0);
  });

  it.each([
    ["of everybody, where all share one past", "chat", [0, 0]],
    ["of whoever types it, where everybody has their own", "person-in-chat", [0, 1]],
  ] as const)("do not look at pictures that came before: %s", async (_whose, isolation, seen) => {
    const { model, receive } = setUp("好。", { isolation });
    const shown = () => JSON.stringify(model.requests.at(-1)?.messages).split('"image"').length - 1;
    const show = (userId: number) => groupMessage({ images: [PIXEL_PNG], userId });
    await receive(show(41), show(42), say("/reset", 41));
    await receive(ask("说说看", 41));
    expect(shown()).toBe(seen[0]);
    await receive(ask("说说看", 42));
    expect(shown()).toBe(seen[1]);
    await receive(show(43), say("/forget", 43), ask("说说看", 43));
    expect(shown()).toBe(0);
  });

  it("wait no longer for the picture of a question that was asked before", async () => {
    const { model, receive, last } = setUp("好。");
    await receive(ask("这张图里有什么？"));
    expect(last()).toBe(phrases.pictureMissing);
    await receive(say("/reset"), groupMessage({ images: [PIXEL_PNG], userId: 41 }));
    expect(model.requests).toEqual([]);
    expect(last()).toBe(phrases.resetDone);
  });

  it("take back the last question of the same person, and one more", async () => {
    const { model, receive, last } = setUp();
    await receive(ask("一"), ask("二"), ask("三", 42), say("/undo"));
    expect(last()).toBe(phrases.undone);
    await receive(ask("四", 42));
    expect(JSON.stringify(model.requests.at(-1)?.messages)).not.toContain("二");
    expect(past(model)).toBe(2);
    await receive(say("/undo"), say("/undo"));
    expect(last()).toBe(phrases.nothingToUndo);
  });

  it("forget what a person asked, or all of a chat", async () => {
    const { model, receive } = setUp();
    await receive(ask("一"), ask("二", 42), say("/forget"), ask("三", 42));
    expect(past(model)).toBe(1);
    await receive(byOwner("/忘记 全部"), ask("四", 42));
    expect(past(model)).toBe(0);
    await receive(
      privateMessage({ text: "五" }),
      privateMessage({ text: "/forget" }),
      privateMessage({ text: "六" }),
    );
    expect(past(model)).toBe(0);
  });
});

describe("/stop", () => {
  it("ends one's own question and no other, without a word more of it", async () => {
    const { napcat, model, bot, until } = setUp(() => new Promise(() => {}));
    napcat.receive(ask("一"));
    napcat.receive(ask("二", 42));
    await until(() => model.requests.length === 1);
    napcat.receive(say("/stop"));
    await until(() => model.requests.length === 2);
    expect(napcat.sentTexts).toEqual([phrases.stopped]);
    napcat.receive(byOwner("/stop all"));
    await bot.idle();
    expect(napcat.sentTexts).toEqual([phrases.stopped, phrases.stopped]);
  });
});

describe("/retry", () => {
  it("asks the same again in place of the first time, pictures included, without fetching them again", async () => {
    let times = 0;
    const { model, receive, last } = setUp(() => `第${++times}次。`);
    await receive(
      ask("一"),
      groupMessage({ userId: 41, mentionsBot: true, text: "这是什么？", images: [PIXEL_PNG] }),
    );
    await receive(say("/重试"));
    expect(last()).toBe("第3次。");
    expect(model.requests[2]?.messages).toEqual(model.requests[1]?.messages);
  });

  it("has nothing to ask again for others, or after a recall", async () => {
    const { napcat, receive, last } = setUp();
    await receive(
      groupMessage({ text: "一", userId: 41, mentionsBot: true, messageId: 77 }),
      say("/retry", 42),
    );
    expect(last()).toBe(phrases.nothingToRetry);
    napcat.receive({ ...readEvent("notice_group_recall"), group_id: 700000003, message_id: 77 });
    await receive(say("/retry"));
    expect(last()).toBe(phrases.nothingToRetry);
  });
});

describe("/mute and /deny", () => {
  it("silence a chat but for commands, until it is lifted", async () => {
    const { napcat, model, receive, last } = setUp();
    await receive(byOwner("/mute 2h"));
    expect(last()).toBe("好的，我安静2小时。");
    await receive(ask("在吗？"), say("/status"));
    expect(model.requests).toHaveLength(0);
    expect(last()).toContain("已让我闭嘴");
    await receive(byOwner("/unmute"), ask("在吗？"));
    expect(last()).toBe("好的。");
    await receive(say("/deny", ADMIN), ask("在吗？", ADMIN), say("/help"));
    expect(napcat.sentTexts.slice(-1)).toEqual([phrases.deniedHere]);
    await receive(say("/allow", ADMIN), ask("在吗？"));
    expect(last()).toBe("好的。");
  });

  it.each(["x", "0", "-5", "5世纪"])("do not guess at %s", async (time) => {
    const { receive, last } = setUp();
    await receive(byOwner(`/mute ${time}`));
    expect(last()).toBe(phrases.muteUnclear);
  });

  it("open a chat again where messages did not arrive", async () => {
    const { napcat, receive, last } = setUp("好的。", { breaker: { failures: 1 } });
    napcat.refuse("send_group_msg", "no");
    await receive(ask("一"));
    napcat.answer("send_group_msg", { message_id: 1 });
    await receive(ask("二"));
    expect(napcat.sent).toHaveLength(1);
    await receive(byOwner("/unmute"), ask("三"));
    expect(last()).toBe("好的。");
  });
});

describe("commands of the host program", () => {
  it("can be registered later, take the place of others, and fail without harm", async () => {
    const { bot, receive, last } = setUp("", { commands: { prefix: "!" } });
    bot.commands.register({ names: ["help"], run: ({ rank, argument }) => `${rank} ${argument}` });
    bot.commands.register({
      names: ["boom"],
      run: () => {
        throw new Error("secret");
      },
    });
    await receive(say("!help me"));
    expect(last()).toBe("everybody me");
    await receive(say("!boom"));
    expect(last()).toBe(phrases.failed);
    await receive(say("!帮助"));
    expect(last()).toMatch(/^!boom$/mu);
  });

  it("can be all there are", async () => {
    const own = { names: ["ping"], run: () => "pong" };
    const { napcat, receive } = setUp("", { commands: { enabled: false, own: [own] } });
    await receive(say("/help"), say("/ping"));
    expect(napcat.sentTexts).toEqual(["pong"]);
  });

  it("read settings again, and say what came of it", async () => {
    const { receive, last } = setUp("", {
      commands: { onReload: async () => "两处有误，仍用旧的。" },
    });
    await receive(say("/reload", ADMIN));
    expect(last()).toBe("两处有误，仍用旧的。");
    const without = setUp();
    await without.receive(say("/reload", ADMIN));
    expect(without.last()).toBe(phrases.nothingToReload);
  });
});
