// Tools in a bot: who may cause them, what the model sees of them, and that nothing in a tool can cost more than its call.

import { describe, expect, it, vi } from "vitest";
import { z } from "zod";
import { type BotTool, botTool, installVlm } from "../../../src/bot/index.ts";
import { FakeNapCat, groupMessage, privateMessage } from "../../../src/bot/testing.ts";
import { ImageDecodeError } from "../../../src/vlm/errors.ts";
import { type FakeAnswers, FakeVisionLanguageModel } from "../../../src/vlm/testing.ts";
import type { GenerateRequest } from "../../../src/vlm/vision-language-model.ts";
import { PIXEL_PNG } from "../../support/events.ts";
import { type QuickBotOptions, quickBot } from "../../support/quick-bot.ts";

function setUp(answer: FakeAnswers, tools: readonly BotTool[], options: QuickBotOptions = {}) {
  const { napcat, model, logger, bot } = quickBot({ answer, tools, ...options });
  const ask = async (text = "?", fields: object = {}) => {
    napcat.receive(privateMessage({ text, ...fields }));
    await bot.idle();
  };
  const askInGroup = async (fields: object = {}) => {
    napcat.receive(groupMessage({ text: "?", mentionsBot: true, ...fields }));
    await bot.idle();
  };
  return { napcat, model, logger, bot, ask, askInGroup };
}

const calls = (...names: string[]) => ({
  toolCalls: names.map((name) => ({ name, arguments: { city: "北京" } })),
});

const weather = (execute: BotTool["execute"], more: Partial<BotTool> = {}): BotTool => ({
  name: "weather",
  description: "Tells the weather.",
  inputSchema: z.object({ city: z.string() }),
  execute,
  ...more,
});

const offered = (request: GenerateRequest | undefined) =>
  (request?.tools ?? []).map((tool) => (tool.function as { name: string }).name);

/** What the model was told of its calls. */
const results = (request: GenerateRequest | undefined) =>
  (request?.messages ?? []).filter(({ role }) => role === "tool").map(({ content }) => content);

const text = (said: string) => [{ type: "text", text: said }];
const error = (said: string | RegExp) => [
  {
    type: "text",
    text: expect.stringMatching(typeof said === "string" ? `{"error":"${said}"}` : said),
  },
];

describe("a tool", () => {
  it("is shown to the model, run with what it wrote, and its result is answered with", async () => {
    const execute = vi.fn(async () => ({ sky: "晴" }));
    const { napcat, model, ask } = setUp([calls("weather"), "北京是晴天。"], [weather(execute)]);
    await ask("北京天气？", { userId: 42, nickname: "小明" });
    expect(model.requests[0]?.tools).toEqual([
      {
        type: "function",
        function: {
          name: "weather",
          description: "Tells the weather.",
          parameters: {
            type: "object",
            properties: { city: { type: "string" } },
            required: ["city"],
          },
        },
      },
    ]);
    expect(execute).toHaveBeenCalledWith(
      { city: "北京" },
      {
        chat: { kind: "private", id: "42" },
        sender: { id: "42", name: "小明" },
        rank: "group-admin",
        signal: expect.any(AbortSignal),
      },
    );
    expect(model.requests[1]?.messages.slice(-2)).toEqual([
      {
        role: "assistant",
        content: "",
        toolCalls: [{ name: "weather", arguments: '{"city":"北京"}' }],
      },
      { role: "tool", content: text('{"sky":"晴"}') },
    ]);
    expect(napcat.sentTexts).toEqual(["北京是晴天。"]);
  });

  it("leaves question and answer in the past, and nothing of its calls", async () => {
    const answers = [{ text: "我看看。", ...calls("weather") }, "晴。", "还是晴。"];
    const { napcat, model, ask } = setUp(answers, [weather(() => "晴")]);
    await ask("天气？");
    await ask("现在呢？");
    expect(napcat.sentTexts).toEqual(["我看看。\n\n晴。", "还是晴。"]);
    expect(model.requests[2]?.messages).toEqual([
      { role: "user", content: "天气？" },
      { role: "assistant", content: "我看看。\n\n晴。" },
      { role: "user", content: "现在呢？" },
    ]);
  });

  it.each([
    ["a picture", PIXEL_PNG, [{ type: "image", data: PIXEL_PNG }]],
    [
      "text and a picture",
      [
        { type: "text", text: "图" },
        { type: "image", data: PIXEL_PNG },
      ],
      [
        { type: "text", text: "图" },
        { type: "image", data: PIXEL_PNG },
      ],
    ],
    ["bytes that are no picture", new Uint8Array(9), text("(a picture that cannot be read)")],
    ["nothing", undefined, text("null")],
    ["a number", 3, text("3")],
    ["an empty list", [], text("[]")],
    ["what JSON cannot say", 3n, text("3")],
    ["very much", "长".repeat(30), text(`${"长".repeat(20)}…`)],
  ])("may return %s", async (_what, output, content) => {
    const limits = { toolLimits: { maxResultCharacters: 20 } };
    const { model, ask } = setUp([calls("weather"), "好。"], [weather(() => output)], limits);
    await ask();
    expect(results(model.requests[1])).toEqual([content]);
  });

  it("whose picture turns out to be broken costs a sentence, not the answer", async () => {
    const broken = new ImageDecodeError("image-corrupt", "broken", { imageIndex: 0 });
    const { napcat, model, ask } = setUp(
      [calls("weather"), broken, "好。"],
      [weather(() => PIXEL_PNG)],
    );
    await ask();
    expect(results(model.requests[2])).toEqual([text("(a picture that cannot be read)")]);
    expect(napcat.sentTexts).toEqual(["好。"]);
  });

  it.each<[string, BotTool, RegExp, string]>([
    [
      "throws",
      weather(() => {
        throw new Error("no such city at https://example.com/?key=CANARY");
      }),
      /no such city at <url>/,
      "failed",
    ],
    [
      "takes what is wrong",
      weather(() => "", { inputSchema: z.object({ city: z.number() }) }),
      /city: .*number/,
      "bad-input",
    ],
    [
      "takes what is wrong by a JSON schema",
      weather(() => "", {
        inputSchema: { type: "object", properties: { city: { type: "number" } } },
      }),
      /city: .*number/,
      "bad-input",
    ],
    [
      "hangs",
      weather(() => new Promise(() => {}), { timeoutMs: 20 }),
      /took too long/,
      "timed-out",
    ],
  ])(
    "that %s is an error for the model, and a line in the log",
    async (_what, tool, said, outcome) => {
      const { napcat, model, logger, ask } = setUp([calls("weather"), "没查到。"], [tool]);
      await ask();
      expect(results(model.requests[1])).toEqual([error(said)]);
      expect(napcat.sentTexts).toEqual(["没查到。"]);
      const lines = JSON.stringify(logger.lines);
      expect(lines).toContain(`"outcome":"${outcome}"`);
      expect(lines).not.toContain("CANARY");
    },
  );

  it("that nobody has is an error for the model", async () => {
    const { model, ask } = setUp([calls("rm_rf"), "好。"], [weather(() => "晴")]);
    await ask();
    expect(results(model.requests[1])).toEqual([error("There is no such tool.")]);
  });

  it("says its note to the chat when it is called, and none without", async () => {
    const tools = [
      weather(() => "晴", { note: "查一下天气……" }),
      { ...weather(() => ""), name: "quiet" },
    ];
    const { napcat, ask } = setUp([calls("weather", "quiet"), "晴。"], tools);
    await ask();
    expect(napcat.sentTexts.toSorted()).toEqual(["晴。", "查一下天气……"].toSorted());
  });

  it("ends with its turn", async () => {
    let signal: AbortSignal | undefined;
    const hanging = weather(
      (_input, context) =>
        new Promise(() => {
          signal = context.signal;
        }),
    );
    const { napcat, bot, model } = setUp([calls("weather"), "晴。"], [hanging]);
    napcat.receive(privateMessage({ text: "?" }));
    await vi.waitFor(() => expect(signal).toBeDefined(), 60_000);
    await bot.close();
    expect(signal?.aborted).toBe(true);
    expect(model.requests).toHaveLength(1);
    expect(napcat.sentTexts).toEqual([]);
  });
});

describe("permission", () => {
  const everywhere = weather(() => "");
  const named = (name: string, permission: Partial<BotTool>) => ({
    ...everywhere,
    name,
    ...permission,
  });
  const tools = [
    named("all", {}),
    named("bosses", { needs: "admin" }),
    named("owners", { needs: "group-admin" }),
    named("friends", { people: ["10*"] }),
    named("friends-and-bosses", { people: ["10*"], needs: "admin" }),
    named("here", { groups: ["7"] }),
  ];

  it.each([
    ["anybody in a group", { userId: 5, groupId: 8 }, ["all"]],
    ["in the one group", { userId: 5, groupId: 7 }, ["all", "here"]],
    ["somebody named", { userId: 100, groupId: 8 }, ["all", "friends", "friends-and-bosses"]],
    [
      "an admin of the bot",
      { userId: 9, groupId: 8 },
      ["all", "bosses", "owners", "friends-and-bosses"],
    ],
  ])("decides what the model hears of, for %s", async (_who, fields, expected) => {
    const { model, askInGroup } = setUp("好。", tools, { admins: ["9"] });
    await askInGroup(fields);
    expect(offered(model.requests[0])).toEqual(expected);
  });

  it("counts the person as the owner of a private chat, and keeps groups out of it", async () => {
    const { model, ask } = setUp("好。", tools);
    await ask("?", { userId: 5 });
    expect(offered(model.requests[0])).toEqual(["all", "owners"]);
  });

  it("holds against a model that calls what it was not offered", async () => {
    const execute = vi.fn(() => "");
    const { model, askInGroup } = setUp(
      [calls("secret", "all"), "好。"],
      [named("all", {}), { ...named("secret", { needs: "admin" }), execute }],
    );
    await askInGroup();
    expect(execute).not.toHaveBeenCalled();
    expect(results(model.requests[1])[0]).toEqual(error("There is no such tool."));
  });
});

describe("limits", () => {
  it("end the steps: then the model has to answer without tools", async () => {
    const answer = (request: GenerateRequest) =>
      request.toolChoice === "none" ? "算了。" : calls("weather");
    const execute = vi.fn(() => "晴");
    const { napcat, model, ask } = setUp(answer, [weather(execute)], {
      toolLimits: { maxSteps: 2 },
    });
    await ask();
    expect(execute).toHaveBeenCalledTimes(2);
    expect(model.requests).toHaveLength(3);
    expect(napcat.sentTexts).toEqual(["算了。"]);
  });

  it("end the time of all calls together", async () => {
    const answer = (request: GenerateRequest) =>
      request.toolChoice === "none" ? "算了。" : calls("weather");
    const hanging = weather(() => new Promise(() => {}));
    const limits = { toolLimits: { totalTimeoutMs: 30 } };
    const { napcat, model, ask } = setUp(answer, [hanging], limits);
    await ask();
    expect(model.requests).toHaveLength(2);
    expect(results(model.requests[1])).toEqual([error("The tool took too long.")]);
    expect(napcat.sentTexts).toEqual(["算了。"]);
  });

  it("end the calls at once", async () => {
    const execute = vi.fn(() => "晴");
    const many = Array.from({ length: 10 }, () => "weather");
    const { model, ask } = setUp([calls(...many), "好。"], [weather(execute)]);
    await ask();
    expect(execute).toHaveBeenCalledTimes(8);
    const said = results(model.requests[1]);
    expect(said).toHaveLength(10);
    expect(said[9]).toEqual(error("Too many calls at once."));
  });

  it("count what all steps took, as one answer", async () => {
    const { bot, ask } = setUp([calls("weather"), "晴天。"], [weather(() => "晴")]);
    await ask("天气");
    const { text } = await bot.watched.metrics();
    // One message in the first step, three in the second.
    expect(text).toContain('napcat_vlm_tokens_total{kind="prompt"} 4');
    expect(text).toContain('napcat_vlm_tool_calls_total{outcome="done"} 1');
  });
});

describe("options", () => {
  const options = (tools: unknown) => ({ model: new FakeVisionLanguageModel(), tools }) as never;
  it.each([
    [[{ name: "a b", execute() {} }], /`tools\[0\].name` to be a name of up to 64/],
    [[{ name: "a" }], /`tools\[0\].execute` to be a function/],
    [[weather(() => ""), weather(() => "")], /different names/],
    [[weather(() => "", { needs: "boss" as never })], /`tools\[0\].needs` to be one of/],
    [[weather(() => "", { inputSchema: { "~standard": {} } as never })], /zod 4 or a JSON schema/],
  ])("are refused by name (%#)", (tools, message) => {
    expect(() => installVlm(new FakeNapCat(), options(tools))).toThrow(message);
  });

  it("are replaced by reconfigure, from the next turn on", async () => {
    const { model, bot, ask } = setUp("好。", [weather(() => "")]);
    bot.reconfigure({ tools: [{ ...weather(() => ""), name: "other" }], merge: { windowMs: 0 } });
    await ask();
    expect(offered(model.requests[0])).toEqual(["other"]);
    const bad = [{ name: "a b", execute() {} }];
    expect(() => bot.reconfigure({ tools: bad })).toThrow("a name of up to 64");
    await ask();
    expect(offered(model.requests[1])).toEqual(["other"]);
  });

  it("has types that follow the schema", () => {
    const tool = botTool({
      name: "typed",
      inputSchema: z.object({ city: z.string() }),
      execute: ({ city }) => city.toUpperCase(),
    });
    expect(tool.execute({ city: "a" }, {} as never)).toBe("A");
  });
});
