import { afterEach, describe, expect, it, vi } from "vitest";
import { type InstalledVlm, installVlm } from "../../src/bot/install-vlm.ts";
import type { InstallVlmOptions } from "../../src/bot/options.ts";
import { FakeNapCat, groupMessage, privateMessage } from "../../src/bot/testing.ts";
import {
  DeviceError,
  ImageDecodeError,
  InferenceError,
  PromptTooLongError,
} from "../../src/vlm/index.ts";
import { type FakeAnswers, FakeVisionLanguageModel } from "../../src/vlm/testing.ts";
import type { StreamPart } from "../../src/vlm/vision-language-model.ts";
import { PIXEL_PNG, readEvent } from "../support/events.ts";
import { FINISHED } from "../support/finished.ts";
import { expired, startPictureServer } from "../support/picture-server.ts";
import { RecordingLogger } from "../support/recording-logger.ts";

const cleanups: (() => Promise<void>)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

function setUp(answer: FakeAnswers = "好的。", options: Partial<InstallVlmOptions> = {}) {
  const napcat = new FakeNapCat();
  const model = new FakeVisionLanguageModel({ answer });
  const logger = new RecordingLogger();
  const errors: unknown[] = [];
  const bot = installVlm(napcat, {
    model,
    logger,
    systemPrompt: "",
    maxMessageAgeMs: Infinity,
    merge: { windowMs: 0 },
    onError: (error) => void errors.push(error),
    ...options,
    reply: { gapMs: 0, jitterMs: 0, ...options.reply },
  });
  cleanups.push(() => bot.close());
  /** Hands an event in and waits until the bot has done with it. */
  const receive = async (...events: object[]) => {
    for (const event of events) napcat.receive(event);
    await bot.idle();
  };
  const asked = () => model.requests.map(({ messages }) => messages.at(-1)?.content);
  return { napcat, model, logger, errors, bot, receive, asked };
}

const at = (options: Parameters<typeof groupMessage>[0]) =>
  groupMessage({ mentionsBot: true, ...options });

describe("installVlm", () => {
  it("answers a mention with a picture, quoting the question", async () => {
    const { napcat, receive, asked } = setUp("一只猫。");
    await receive(at({ text: "这是什么？", images: [PIXEL_PNG], messageId: 12 }));
    expect(asked()).toEqual([
      [
        { type: "text", text: "小明：" },
        { type: "image", data: expect.any(Uint8Array) },
        { type: "text", text: "这是什么？" },
      ],
    ]);
    expect(napcat.calls).toEqual([
      {
        action: "send_group_msg",
        params: {
          group_id: 700000003,
          message: [
            { type: "reply", data: { id: "12" } },
            { type: "text", data: { text: "一只猫。" } },
          ],
        },
      },
    ]);
  });

  it("answers in private without a quote, and in a temporary session without naming its group", async () => {
    const { napcat, receive } = setUp();
    await receive(privateMessage({ text: "你好" }), readEvent("private_temp_session"));
    expect(napcat.sent.map(({ params }) => params)).toEqual([
      { user_id: 1000000002, message: [{ type: "text", data: { text: "好的。" } }] },
      { user_id: 1000000002, message: [{ type: "text", data: { text: "好的。" } }] },
    ]);
  });

  it("does nothing at all for messages that are not for it", async () => {
    const { napcat, model, receive } = setUp();
    const names = ["group_text", "group_at_all", "group_text_cq_injection", "group_image_only"];
    const others = ["message_sent_group_self", "notice_input_status", "meta_heartbeat"];
    await receive(...[...names, ...others].map(readEvent));
    expect([napcat.calls, model.requests]).toEqual([[], []]);
  });

  it("answers a quote of the bot without a mention, by memory or by looking it up", async () => {
    const { napcat, receive, asked } = setUp();
    napcat.answer("send_group_msg", { message_id: 4242 });
    await receive(at({ text: "一" }));
    napcat.refuse("get_msg", "消息不存在");
    await receive(groupMessage({ text: "它几岁", quotes: 4242 }));
    expect(asked().at(-1)).toBe("小明：[引用的消息已无法查看]它几岁");

    napcat.answer("get_msg", { ...readEvent("message_sent_group_self"), post_type: "message" });
    await receive(groupMessage({ text: "真的吗", quotes: 1967422361 }));
    expect(asked().at(-1)).toContain("[引用看图猫的消息]\n这是一只橘猫。");
    expect(napcat.sent).toHaveLength(3);
  });

  it("ignores a quote of somebody else", async () => {
    const { napcat, model, receive } = setUp();
    napcat.answer("get_msg", readEvent("group_quoted_target_image_message"));
    await receive(groupMessage({ text: "好看", quotes: 1629673528 }));
    expect([napcat.sent, model.requests]).toEqual([[], []]);
  });

  it("does not complain in public when it takes too long to look up somebody else's quote", async () => {
    vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout"] });
    const { napcat, bot, errors } = setUp("好的。", { turnTimeoutMs: 1000 });
    napcat.answer("get_msg", () => new Promise(() => {}));
    napcat.receive(groupMessage({ text: "没错", quotes: 999 }));
    await vi.advanceTimersByTimeAsync(60_000);
    vi.useRealTimers();
    await bot.idle();
    expect(napcat.sent).toEqual([]);
    expect(errors).toEqual([]);
  });

  it("sees the picture that was quoted", async () => {
    const { napcat, receive, asked } = setUp();
    const quoted = groupMessage({ images: [PIXEL_PNG], nickname: "小红", messageId: 5 });
    napcat.answer("get_msg", quoted);
    await receive(at({ text: "这是什么", quotes: 5 }));
    expect(asked()[0]).toEqual([
      { type: "text", text: "[引用小红的消息]\n" },
      { type: "image", data: expect.any(Uint8Array) },
      { type: "text", text: "\n[引用结束]\n小明：这是什么" },
    ]);
  });

  it.each(["api_get_msg_failed_unknown", "api_get_msg_failed_recalled"])(
    "goes on without the quote when NapCat says %s",
    async (fixture) => {
      const { napcat, receive, asked } = setUp();
      napcat.answer("get_msg", () => {
        throw readEvent(fixture);
      });
      await receive(readEvent("group_reply_to_image_at_bot"));
      expect(asked()[0]).toContain("这是什么");
      expect(napcat.sentTexts).toEqual(["好的。"]);
    },
  );

  it("remembers the chat, each chat for itself", async () => {
    const { model, receive } = setUp(["一只猫。", "橘色。", "你好。"]);
    await receive(at({ text: "图里有什么", images: [PIXEL_PNG] }));
    await receive(at({ text: "什么颜色" }));
    await receive(at({ text: "在吗", groupId: 8 }));
    expect(model.requests.map(({ messages }) => messages.length)).toEqual([1, 3, 1]);
  });

  it("tells the model about an expired picture and answers, after one call of each kind", async () => {
    const server = await startPictureServer({ "/old": expired, "/new": expired });
    cleanups.push(() => server.close());
    const images = { extraHosts: [server.host], allowPrivateAddresses: true };
    const { napcat, logger, receive, asked } = setUp("我看不到第1张图。", { images });
    const event = (path: string) => ({
      ...at({ messageId: 77 }),
      message: [
        { type: "at", data: { qq: "3000000001" } },
        { type: "text", data: { text: " 这是什么" } },
        { type: "image", data: { file: "A8A63B4D63A08AED.jpg", url: server.url(`${path}`) } },
      ],
    });
    napcat.answer("get_msg", event("/new"));
    napcat.refuse("get_image", String(readEvent("api_get_image_failed_timeout").message));
    await receive(event("/old"));

    expect(asked()).toEqual(["小明：[图片1无法读取：链接已过期]这是什么"]);
    expect(napcat.calls.map(({ action }) => action)).toEqual([
      "get_msg",
      "get_image",
      "send_group_msg",
    ]);
    expect(napcat.sentTexts).toEqual(["我看不到第1张图。"]);
    expect(logger.at("warn")).toEqual(["A picture could not be read; the model is told so."]);
  });

  it("says in its log and its numbers which pictures the model could not decode", async () => {
    const undecodable = new ImageDecodeError("image-unsupported", "It is HEIC.").at(0);
    const { receive, logger, napcat, bot } = setUp([undecodable, "我看不到第1张图。"]);
    await receive(at({ text: "这是什么", images: [PIXEL_PNG] }));
    expect(napcat.sentTexts).toEqual(["我看不到第1张图。"]);
    expect(logger.at("warn")).toEqual(["A picture could not be read; the model is told so."]);
    expect(JSON.stringify(logger.lines)).toContain("image-unsupported");
    const { text } = await bot.watched.metrics();
    expect(text).toContain('pictures_unreadable_total{code="image-unsupported"} 1');
  });

  it("makes no connection for forged addresses and none for pictures that are too large", async () => {
    const { receive, asked } = setUp();
    const forged = (url: string) => ({
      ...at({}),
      message: [
        { type: "at", data: { qq: "3000000001" } },
        { type: "image", data: { file: "x", url } },
      ],
    });
    await receive(forged("http://169.254.169.254/latest/meta-data/"));
    await receive(forged("http://127.0.0.1:1/"));
    await receive(readEvent("group_image_large"));
    expect(asked()).toEqual([
      "小明：[图片1无法读取：来源不受信任]",
      "小明：[图片1无法读取：来源不受信任]",
      "群名片·小明：[图片1无法读取：图片太大]",
    ]);
  });

  it("asks for content when somebody only mentions it, without asking the model", async () => {
    const { napcat, model, receive } = setUp();
    await receive(at({}));
    expect([model.requests, napcat.sentTexts]).toEqual([[], ["我在。发张图，或者直接问我吧。"]]);
  });

  it("says something when the model says nothing", async () => {
    const { napcat, receive } = setUp(" \n");
    await receive(at({ text: "?" }));
    expect(napcat.sentTexts).toEqual(["我一时不知道怎么回答。"]);
  });

  it("says so when all the room went into a thought", async () => {
    async function* thinking(): AsyncGenerator<StreamPart> {
      yield { type: "reasoning-delta", text: "让我想想……" };
      yield { ...FINISHED, finishReason: "max-tokens" };
    }
    const { napcat, receive } = setUp(thinking());
    await receive(at({ text: "难题" }));
    expect(napcat.sentTexts).toEqual(["我想了很多，却没来得及写出答案。换个问法再试一次吧。"]);
  });

  it("takes the bot's own names off the start of an answer, asking NapCat only then", async () => {
    const answers = ["好的", "看图猫：在", "猫猫: 在", "答案：42"];
    const { napcat, receive } = setUp(answers);
    napcat.answer("get_group_member_info", { card: "猫猫", nickname: "看图猫" });
    const lookUps: number[] = [];
    for (const _ of answers) {
      await receive(at({ text: "在吗" }));
      lookUps.push(napcat.calls.filter(({ action }) => action.startsWith("get_")).length);
    }
    expect(napcat.sentTexts).toEqual(["好的", "在", "在", "答案：42"]);
    expect(lookUps).toEqual([0, 2, 2, 2]);
  });

  it("splits a long answer and quotes the question once", async () => {
    const { napcat, receive } = setUp(
      "第一段说的是一只猫。\n\n第二段说的是另一只猫，它也很可爱。",
      {
        reply: { maxCharacters: 24 },
      },
    );
    await receive(at({ text: "?", messageId: 3 }));
    expect(napcat.sentTexts).toEqual([
      "第一段说的是一只猫。",
      "第二段说的是另一只猫，它也很可爱。",
    ]);
    const quotes = napcat.sent.map(({ params }) => JSON.stringify(params).includes('"reply"'));
    expect(quotes).toEqual([true, false]);
  });

  it.each([
    ["always", [true, true]],
    ["never", [false, false]],
    ["group", [true, false]],
  ] as const)("quotes %s", async (quote, expected) => {
    const { napcat, receive } = setUp("好", { reply: { quote } });
    await receive(at({ text: "?" }));
    await receive(privateMessage({ text: "?" }));
    const quotes = napcat.sent.map(({ params }) => JSON.stringify(params).includes('"reply"'));
    expect(quotes).toEqual(expected);
  });

  it("sends codes the model writes as plain text", async () => {
    const codes = "[CQ:at,qq=all][CQ:image,file=file:///etc/passwd]";
    const { napcat, receive } = setUp(codes);
    await receive(privateMessage({ text: "?" }));
    expect(napcat.sent[0]?.params.message).toEqual([{ type: "text", data: { text: codes } }]);
  });

  it.each([
    [
      "too long",
      new PromptTooLongError(9, 5),
      "内容太长了，我看不完。请发短一点，或者少发几张图。",
    ],
    ["failing", new InferenceError("decode", "CANARY"), "出错了，这次没能回答。"],
    [
      "an undecodable picture nobody knows",
      new ImageDecodeError("image-corrupt", "CANARY"),
      "这张图我看不了。",
    ],
    [
      "a device that comes back by itself",
      new DeviceError("device-lost", "CANARY"),
      "现在有点忙，稍后再问我吧。",
    ],
    ["something else", new TypeError("CANARY"), "出错了，这次没能回答。"],
  ])("turns an error (%s) into a sentence and works on", async (_name, error, phrase) => {
    const { napcat, errors, logger, receive } = setUp([error, "好的。"]);
    await receive(at({ text: "一" }));
    await receive(at({ text: "二" }));
    expect(napcat.sentTexts).toEqual([phrase, "好的。"]);
    expect(errors).toEqual([error]);
    expect(logger.at("error")).toEqual(["A message could not be answered."]);
  });

  it.each([
    ["text", ["出错了，这次没能回答。"], 0],
    ["reaction", [], 1],
    ["silent", [], 0],
  ] as const)("tells an error as %s", async (form, texts, emojis) => {
    const { napcat, logger, receive } = setUp(new InferenceError("decode", "CANARY"), {
      reply: { errors: form },
    });
    await receive(at({ text: "一", messageId: 77 }));
    expect(napcat.sentTexts).toEqual(texts);
    const put = napcat.calls.filter(({ action }) => action === "set_msg_emoji_like");
    expect(put.map(({ params }) => params)).toEqual(
      Array(emojis).fill({ message_id: 77, emoji_id: "123", set: true }),
    );
    expect(logger.at("error")).toEqual(["A message could not be answered."]);
    await receive(privateMessage({ text: "一" }));
    expect(napcat.sentTexts.slice(texts.length)).toEqual(
      form === "silent" ? [] : ["出错了，这次没能回答。"],
    );
  });

  it("says that it thought for too long when its time is over", async () => {
    const { napcat, receive } = setUp(() => new Promise(() => {}), { turnTimeoutMs: 20 });
    await receive(at({ text: "?" }));
    expect(napcat.sentTexts).toEqual(["想太久了，这次没有想出来。"]);
  });

  it("makes Node warn of no leak when many chats talk at once", async () => {
    const warnings: Error[] = [];
    const onWarning = (warning: Error) => void warnings.push(warning);
    process.on("warning", onWarning);
    const { napcat, model, bot } = setUp(() => new Promise(() => {}));
    for (let id = 1; id <= 20; id++) napcat.receive(at({ text: "?", groupId: id, userId: id }));
    while (model.requests.length < 20) await new Promise(setImmediate);
    await bot.close();
    process.off("warning", onWarning);
    expect(warnings).toEqual([]);
  });

  it("says once per chat that it is busy", async () => {
    const { napcat, bot } = setUp(() => new Promise(() => {}), { maxQueuePerChat: 1 });
    for (const text of ["一", "二", "三", "四", "五"]) napcat.receive(at({ text }));
    while (napcat.sent.length === 0) await new Promise(setImmediate);
    await bot.close();
    expect(napcat.sentTexts).toEqual(["现在有点忙，稍后再问我吧。"]);
  });

  it("goes on after a send that fails, and does not repeat it", async () => {
    const { napcat, errors, receive } = setUp();
    napcat.refuse("send_group_msg", String(readEvent("api_send_timeout_maybe_sent").message));
    await receive(at({ text: "一" }));
    expect(napcat.sent, "no second try, and no excuse either").toHaveLength(1);
    expect(errors).toMatchObject([{ code: "onebot-call-failed", outcome: "unknown" }]);
    napcat.answer("send_group_msg", { message_id: 1 });
    await receive(at({ text: "二" }));
    expect(napcat.sent).toHaveLength(2);
  });

  it("survives an onError that throws or rejects", async () => {
    const failing = [
      () => {
        throw new Error("CANARY");
      },
      () => Promise.reject(new Error("CANARY")),
    ];
    for (const onError of failing) {
      const { napcat, logger, receive } = setUp(new TypeError("x"), { onError });
      await receive(at({ text: "?" }));
      expect(napcat.sentTexts).toEqual(["出错了，这次没能回答。"]);
      expect(logger.at("error")).toContain("onError failed itself.");
    }
  });

  it("answers a repeated frame once and a replayed message never", async () => {
    const { napcat, logger, receive } = setUp("好", { maxMessageAgeMs: 60_000 });
    const fresh = at({ text: "?" });
    const old = (messageId: number) => at({ text: "?", timeMs: Date.now() - 3_600_000, messageId });
    await receive(fresh, fresh, ...Array.from({ length: 30 }, (_, index) => old(index + 1)));
    expect(napcat.sent).toHaveLength(1);
    expect(logger.at("warn"), "one hint").toHaveLength(1);
  });

  it("warns once about the string format and answers none of it", async () => {
    const { napcat, logger, receive } = setUp();
    const event = readEvent("group_message_string_format");
    await receive(event, { ...event, message_id: 2 }, { ...event, message_id: 3 });
    expect(napcat.calls).toEqual([]);
    expect(logger.at("warn")).toEqual([expect.stringContaining("messagePostFormat")]);
  });

  it("answers one chat in order and others beside it", async () => {
    const gates = new Map<string, () => void>();
    const { napcat, bot } = setUp(async ({ messages }) => {
      const text = String(messages.at(-1)?.content).slice(-1);
      await new Promise<void>((resolve) => gates.set(text, resolve));
      return text;
    });
    const open = async (text: string) => {
      while (!gates.has(text)) await new Promise(setImmediate);
      gates.get(text)?.();
    };
    napcat.receive(at({ text: "1" }));
    napcat.receive(at({ text: "2" }));
    napcat.receive(at({ text: "a", groupId: 8 }));
    await open("a");
    while (napcat.sent.length < 1) await new Promise(setImmediate);
    expect(gates.has("2")).toBe(false);
    await open("1");
    await open("2");
    await bot.idle();
    expect(napcat.sentTexts).toEqual(["a", "1", "2"]);
  });

  it("does not start the next answer of a chat before all of the last one is sent", async () => {
    const { napcat, receive } = setUp(
      ({ messages }) => {
        const question = String(messages.at(-1)?.content);
        return `${question.slice(-1)}。\n\n${"长".repeat(18)}`;
      },
      { reply: { maxCharacters: 20 } },
    );
    await receive(at({ text: "1" }), at({ text: "2" }));
    expect(napcat.sentTexts.map((text) => text[0])).toEqual(["1", "长", "2", "长"]);
  });

  it("shows none of what is secret, in chats or logs, whatever throws it", async () => {
    const canary = new Error("CANARY https://multimedia.nt.qq.com.cn/download?rkey=CANARY");
    const { napcat, logger, receive } = setUp([canary, "好"], { phrases: { failed: "坏了" } });
    const throwing = () => {
      throw canary;
    };
    napcat.answer("get_msg", throwing).answer("get_image", throwing);
    await receive(at({ text: "CANARY", quotes: 5, images: [PIXEL_PNG] }));
    const picture = {
      type: "image",
      data: { file: "A8A63B4D63A08AED.jpg", url: "http://x/?CANARY" },
    };
    await receive({ ...privateMessage(), message: [picture] });
    napcat.answer("send_group_msg", throwing);
    await receive(at({ text: "?" }));
    const shown = JSON.stringify([logger.lines, napcat.sentTexts]);
    expect(shown).not.toContain("CANARY");
    expect(napcat.sentTexts[0]).toBe("坏了");
  });

  it("stops listening at close, says nothing more and leaves model and connection alone", async () => {
    const { napcat, model, errors, bot } = setUp(() => new Promise(() => {}));
    napcat.receive(at({ text: "?" }));
    while (model.requests.length === 0) await new Promise(setImmediate);
    await Promise.all([bot.close(), bot.close()]);
    napcat.receive(at({ text: "?" }));
    await bot.idle();
    expect([napcat.sent, errors]).toEqual([[], []]);
    expect(napcat.listeners).toBe(0);
    expect(model.disposed).toBe(false);
    expect(model.requests).toHaveLength(1);
  });

  it("closes by signal, before or after it was installed", async () => {
    const stop = new AbortController();
    const { napcat } = setUp("好", { signal: stop.signal });
    stop.abort();
    expect(napcat.listeners).toBe(0);
    expect(setUp("好", { signal: stop.signal }).napcat.listeners).toBe(0);
  });

  it("shares its chat core", async () => {
    const { bot, model, receive } = setUp();
    await receive(privateMessage({ text: "一", userId: 5 }));
    const chat = { kind: "private", id: "5" } as const;
    await bot.responder.respond({
      chat,
      sender: { id: "5", name: "" },
      parts: [{ type: "text", text: "二" }],
    });
    expect(model.requests[1]?.messages).toHaveLength(3);
  });

  it.each([
    [{ maxTokens: 0 }, RangeError, "Expected `maxTokens` to be an integer >= 1, got `0` (number)."],
    [
      { maxTokens: "9" },
      TypeError,
      "Expected `maxTokens` to be an integer >= 1, got `9` (string).",
    ],
    [{ model: {} }, TypeError, "Expected `model` to be a VisionLanguageModel, got an object."],
    [
      { history: { maxTurns: -1 } },
      RangeError,
      "Expected `history.maxTurns` to be an integer >= 0, got `-1` (number).",
    ],
    [
      { histroy: {} },
      TypeError,
      "Unknown option `histroy` of installVlm. Known are model, systemPrompt,",
    ],
    [
      { images: { maxSize: 1 } },
      TypeError,
      "Unknown option `images.maxSize` of installVlm. Known are maxPerTurn,",
    ],
    [
      { triggers: { group: ["at"] } },
      TypeError,
      'Expected `triggers.group[0]` to be one of "any", "mention", "nickname", "prefix", "keyword", "regex", "poke", "picture", "probability", "quote", "decide", got `at` (string).',
    ],
    [
      { triggers: { patterns: ["(?=x)"] } },
      TypeError,
      "Expected `triggers.patterns[0]` to be a regular expression that RE2 takes, without look-around",
    ],
    [
      { chats: { "123": {} } },
      TypeError,
      "Expected `chats.123` to be an object with keys such as `group:123456` or `private:*`",
    ],
    [
      { chats: { "group:1": { queuePolicy: "drop" } } },
      TypeError,
      'Expected `chats.group:1.queuePolicy` to be one of "queue", "replace", "reject", got `drop`',
    ],
    [
      { images: { extraHosts: ["http://x/y"] } },
      TypeError,
      "Expected `images.extraHosts[0]` to be a host such as `img.example.com`",
    ],
    [
      { sampling: { topP: 2 } },
      RangeError,
      "Expected `sampling.topP` to be a number > 0 and <= 1, got `2` (number).",
    ],
    // The model would refuse these too, but only when somebody asks something.
    [{ sampling: { topP: 0 } }, RangeError, "Expected `sampling.topP` to be a number > 0"],
    [
      { sampling: { temperature: 101 } },
      RangeError,
      "Expected `sampling.temperature` to be a number >= 0 and <= 100",
    ],
    [
      { sampling: { repetitionPenalty: 0 } },
      RangeError,
      "Expected `sampling.repetitionPenalty` to be a number > 0",
    ],
    [
      { sampling: { presencePenalty: -101 } },
      RangeError,
      "Expected `sampling.presencePenalty` to be a number >= -100 and <= 100",
    ],
    [{ phrases: { busy: 5 } }, TypeError, "Expected `phrases.busy` to be a string, got a number."],
    [
      { phrases: { speaker: "x" } },
      TypeError,
      "Expected `phrases.speaker` to be a function that returns a string",
    ],
    [
      { logger: {} },
      TypeError,
      "Expected `logger` to be a logger with debug, info, warn and error",
    ],
    [{ signal: {} }, TypeError, "Expected `signal` to be an AbortSignal, got an object."],
  ])("refuses %j", (wrong, type, message) => {
    let thrown: unknown;
    try {
      setUp("好", wrong as Partial<InstallVlmOptions>);
    } catch (error) {
      thrown = error;
    }
    expect(thrown).toBeInstanceOf(type);
    expect(String(thrown)).toContain(message);
  });

  it("names all mistakes at once", () => {
    const wrong = { maxTokens: 0, turnTimeoutMs: -1 };
    expect(() => setUp("好", wrong)).toThrow(/`maxTokens`.*\n.*`turnTimeoutMs`/u);
  });

  it("refuses what is no connection", () => {
    const install = (napcat: unknown) => (): InstalledVlm =>
      installVlm(napcat as FakeNapCat, { model: new FakeVisionLanguageModel() });
    expect(install(undefined)).toThrow("Expected `napcat` to be a NapCat connection");
    expect(install({ on() {}, off() {} })).toThrow("got an object without send");
    expect(install("ws://127.0.0.1:3001?access_token=CANARY")).toThrow(/got a string\.$/u);
  });
});
