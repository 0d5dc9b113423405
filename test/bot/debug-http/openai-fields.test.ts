// Every field of OpenAI's chat completions, taken or refused by name, and what the model is asked for with it.

import fc from "fast-check";
import { afterEach, describe, expect, it } from "vitest";
import { resolveLimits } from "../../../src/bot/debug-http/limits.ts";
import { parseCompletionRequest } from "../../../src/bot/debug-http/openai/completion-request.ts";
import { RequestError } from "../../../src/bot/debug-http/request-error.ts";
import { checkRequest } from "../../../src/vlm/request-options.ts";
import { effort } from "../../support/fuzz.ts";
import {
  closeDoors,
  errorOf,
  openDoor,
  PIXEL,
  PIXEL_URI,
  question,
} from "../../support/open-ai-door.ts";

afterEach(closeDoors);

const limits = resolveLimits();
const parse = (fields: object) => parseCompletionRequest({ ...question, ...fields }, limits);
const asked = (fields: object) => parse(fields).request;

const tool = (name: string) => ({ type: "function", function: { name, parameters: {} } });
const TOOLS = [tool("look"), tool("draw")];
const begun = [...question.messages, { role: "assistant", content: "红" }];
const calling = [
  ...question.messages,
  { role: "assistant", content: null, tool_calls: [{ id: "a", function: { name: "look" } }] },
];

describe("a field that is taken", () => {
  it.each([
    [{ temperature: 2 }, { temperature: 2 }],
    [
      { temperature: 0, top_p: 1 },
      { temperature: 0, topP: 1 },
    ],
    [{ top_p: 0, temperature: 1 }, { temperature: 0 }],
    [
      { presence_penalty: -2, frequency_penalty: 2 },
      { presencePenalty: -2, frequencyPenalty: 2 },
    ],
    [{ max_tokens: 7 }, { maxTokens: 7 }],
    [{ max_tokens: 7, max_completion_tokens: 9 }, { maxTokens: 9 }],
    [{ stop: "a" }, { stop: ["a"] }],
    [{ stop: ["a", "b", "c", "d"] }, { stop: ["a", "b", "c", "d"] }],
    [{ stop: [] }, {}],
    [{ seed: 0 }, { seed: 0 }],
    [{ seed: -5 }, { seed: 5 }],
    [{ n: 1, user: "u", store: true, metadata: { a: "b" }, service_tier: "auto" }, {}],
    [{ logit_bias: {}, modalities: ["text"], functions: [], verbosity: "low" }, {}],
    [{ logprobs: false }, {}],
    [{ logprobs: true, top_logprobs: 20 }, { topLogprobs: 20 }],
    [{ reasoning_effort: "none" }, { maxReasoningTokens: 0 }],
    [{ reasoning_effort: "high" }, {}],
    [{ enable_thinking: "false" }, { maxReasoningTokens: 0 }],
    [{ enable_thinking: true, thinking_budget: 99 }, { maxReasoningTokens: 99 }],
    [{ chat_template_kwargs: { enable_thinking: false } }, { maxReasoningTokens: 0 }],
    [{ response_format: { type: "text" } }, {}],
    [
      { tools: TOOLS, tool_choice: "required" },
      { tools: TOOLS, toolChoice: "required" },
    ],
    [
      { tools: TOOLS, tool_choice: "none" },
      { tools: TOOLS, toolChoice: "none" },
    ],
    [{ tools: TOOLS, tool_choice: null }, { tools: TOOLS }],
    [
      { tools: TOOLS, parallel_tool_calls: false },
      { tools: TOOLS, parallelToolCalls: false },
    ],
    [{ tools: [], parallel_tool_calls: false }, {}],
    [
      { tools: TOOLS, tool_choice: { type: "function", function: { name: "draw" } } },
      { tools: TOOLS, toolChoice: { name: "draw" } },
    ],
    [
      {
        tools: TOOLS,
        tool_choice: {
          type: "allowed_tools",
          allowed_tools: { mode: "required", tools: [tool("draw")] },
        },
      },
      { tools: [tool("draw")], toolChoice: "required" },
    ],
    [{ tools: [], tool_choice: "required" }, {}],
    // A call that has to be made has the form of its tool.
    [
      { tools: TOOLS, tool_choice: "required", response_format: { type: "json_object" } },
      { tools: TOOLS, toolChoice: "required" },
    ],
    [{ messages: begun }, { messages: begun, continueAnswer: true }],
    [
      { messages: begun, continue_final_message: true },
      { messages: begun, continueAnswer: true },
    ],
  ])("%j", (fields, expected) => {
    const request = asked(fields);
    expect(request).toEqual({ messages: question.messages, ...expected });
    expect(() => checkRequest(request)).not.toThrow();
  });

  it("keeps a seed of 64 bits apart from its neighbours of another kind", () => {
    const seeds = [2 ** 63, 2 ** 62, 12_345_678_901].map((seed) => asked({ seed }).seed);
    expect(new Set(seeds).size).toBe(3);
    for (const seed of seeds) expect(Number.isSafeInteger(seed)).toBe(true);
  });

  it("says whether usage is wanted", () => {
    expect(parse({})).toMatchObject({ stream: false, includeUsage: false });
    const asked = parse({ stream: true, stream_options: { include_usage: true } });
    expect(asked).toMatchObject({ stream: true, includeUsage: true });
  });
});

describe("a field that cannot be taken is named", () => {
  it.each([
    [{ messages: undefined }, "messages", "missing or not a list"],
    [{ messages: [] }, "messages", "at least 1 entries"],
    [{ messages: [{ role: "teacher", content: "?" }] }, "messages.0.role", "it is none of system"],
    [{ messages: [{ role: "user", content: 5 }] }, "messages.0.content", "no kind"],
    [
      { messages: [{ role: "user", content: [{ type: "input_audio", input_audio: {} }] }] },
      "messages.0.content.0.type",
      "sound, files and videos are not taken",
    ],
    [
      { messages: [{ role: "user", content: [{ type: "image_url", image_url: "https://a/b" }] }] },
      "messages.0.content.0.image_url",
      "addresses are not fetched",
    ],
    [
      { messages: [{ role: "user", content: [{ type: "image_url", image_url: "/etc/passwd" }] }] },
      "messages.0.content.0.image_url",
      "addresses are not fetched",
    ],
    [{ messages: calling }, "messages.1.tool_calls", "results of its calls have to follow"],
    [{ temperature: 2.1 }, "temperature", "at most 2"],
    [{ temperature: -1 }, "temperature", "at least 0"],
    [{ temperature: "hot" }, "temperature", "not a number"],
    [{ top_p: 1.5 }, "top_p", "at most 1"],
    [{ presence_penalty: 3 }, "presence_penalty", "at most 2"],
    [{ frequency_penalty: -3 }, "frequency_penalty", "at least -2"],
    [{ repetition_penalty: 0 }, "repetition_penalty", "more than 0"],
    [{ max_tokens: 0 }, "max_tokens", "at least 1"],
    [{ max_tokens: 1.5 }, "max_tokens", "whole number"],
    [{ max_completion_tokens: -1 }, "max_completion_tokens", "at least 1"],
    [{ stop: [1] }, "stop.0", "string"],
    [{ seed: 1.5 }, "seed", "whole number"],
    [{ n: 9 }, "n", "at most 8"],
    [{ n: 0 }, "n", "at least 1"],
    [{ top_logprobs: 2 }, "top_logprobs", "`logprobs`"],
    [{ logprobs: true, top_logprobs: 21 }, "top_logprobs", "at most 20"],
    [{ logit_bias: { 50256: -100 } }, "logit_bias", "other numbers"],
    [{ modalities: ["text", "audio"] }, "modalities", "answers are text"],
    [{ functions: [{ name: "f" }] }, "functions", "`tools`"],
    [{ stream: "yes" }, "stream", "true or false"],
    [{ tools: "look" }, "tools", "list"],
    [{ tools: [{ type: "custom", custom: {} }] }, "tools.0.type", "`function`"],
    [{ tools: [{ type: "function" }] }, "tools.0.function", "object"],
    [{ tools: [{ type: "function", function: { name: "" } }] }, "tools.0.function.name", "1"],
    [{ tools: TOOLS, tool_choice: "any" }, "tool_choice", "none of auto"],
    [
      { tools: TOOLS, tool_choice: { type: "function", function: { name: "fly" } } },
      "tool_choice.function.name",
      "no such tool",
    ],
    [
      { tools: TOOLS, tool_choice: "required", messages: begun },
      "tool_choice",
      "beginning of an answer",
    ],
    [{ response_format: { type: "xml" } }, "response_format.type", "it is none of text"],
    [{ response_format: { type: "json_schema" } }, "response_format.json_schema", "object"],
    [{ continue_final_message: true }, "continue_final_message", "not the assistant's"],
  ])("%j", (fields, field, why) => {
    const refused = () => asked(fields);
    expect(refused).toThrow(RequestError);
    expect(refused).toThrow(expect.objectContaining({ status: 400, field }));
    expect(refused).toThrow(why);
  });

  it.each([
    ["a list", []],
    ["a word", '"CANARY"'],
    ["nothing", "null"],
  ])("where the body is %s and no object", async (_what, body) => {
    const { post } = await openDoor();
    const error = await errorOf(await post(body));
    expect(error).toMatchObject({ status: 400, param: "body" });
    expect(JSON.stringify(error)).not.toContain("CANARY");
  });

  it("by `param`, as OpenAI does", async () => {
    const { client } = await openDoor();
    await expect(
      client.chat.completions.create({ ...question, temperature: 9 }),
    ).rejects.toMatchObject({ status: 400, param: "temperature", type: "invalid_request_error" });
  });
});

describe("a picture", () => {
  const picture = (url: string) =>
    asked({ messages: [{ role: "user", content: [{ type: "image_url", image_url: { url } }] }] })
      .messages[0]?.content;
  const expected = [{ type: "image", data: Buffer.from(PIXEL, "base64") }];

  it.each([
    ["in capitals", `DATA:IMAGE/PNG;BASE64,${PIXEL}`],
    ["with a charset", `data:image/png;charset=utf-8;base64,${PIXEL}`],
    ["without a type", `data:;base64,${PIXEL}`],
    ["of a wrong type", `data:image/jpg;base64,${PIXEL}`],
    ["in lines", `data:image/png;base64,\n${PIXEL.replace(/.{20}/gu, "$&\r\n")}\n`],
    ["with spaces around it", `  ${PIXEL_URI}\n`],
    ["without padding", PIXEL_URI.replace(/=+$/u, "")],
    ["escaped as an address is", PIXEL_URI.replaceAll("+", "%2B").replaceAll("=", "%3D")],
    ["in the letters of addresses", PIXEL_URI.replaceAll("+", "-")],
  ])("is taken %s", (_how, uri) => {
    expect(picture(uri)).toEqual(expected);
  });

  it.each([
    ["that is empty", "data:image/png;base64,"],
    ["that is not base64", "data:image/png;base64,§§§§"],
    ["that is text", "data:image/svg+xml,<svg/>"],
    ["that is cut off", `data:image/png;base64,${"A".repeat(5)}`],
    ["in a file", "file:///etc/passwd"],
    ["behind an address", "http://127.0.0.1/CANARY.png"],
    ["without a word of what it is", PIXEL],
  ])("is refused %s", (_how, uri) => {
    expect(() => picture(uri)).toThrow(
      expect.objectContaining({ status: 400, field: "messages.0.content.0.image_url" }),
    );
    expect(() => picture(uri)).not.toThrow("CANARY");
  });

  it("may be in the result of a tool, and in many messages", () => {
    const part = { type: "image_url", image_url: PIXEL_URI };
    const turn = [
      { role: "user", content: Array(limits.maxPictures).fill(part) },
      { role: "assistant", content: "好" },
    ];
    const result = { role: "tool", tool_call_id: "a", content: [part] };
    const messages = [...turn, ...turn, ...calling, result];
    expect(asked({ messages }).messages.at(-1)).toEqual({ role: "tool", content: expected });
  });
});

describe("the limits of the adapter", () => {
  it.each([
    [{ maxTextLength: 3 }, "text-too-long", { role: "user", content: "四个字了" }],
    [
      { maxTextLength: 3 },
      "text-too-long",
      {
        role: "user",
        content: [
          { type: "text", text: "两个" },
          { type: "text", text: "两个" },
        ],
      },
    ],
    [
      { maxPictures: 1 },
      "too-many-pictures",
      { role: "user", content: Array(2).fill({ type: "image_url", image_url: PIXEL_URI }) },
    ],
    [
      { maxPictureBytes: 10 },
      "picture-too-large",
      { role: "user", content: [{ type: "image_url", image_url: PIXEL_URI }] },
    ],
  ])("hold here too: %o", async (own, code, message) => {
    const { post } = await openDoor({}, { limits: own });
    const error = await errorOf(await post({ messages: [message] }));
    expect(error).toMatchObject({ status: 413, code, type: "invalid_request_error" });
  });

  it("hold for the whole body", async () => {
    const { post } = await openDoor({}, { limits: { maxBodyBytes: 1000 } });
    const error = await errorOf(await post({ ...question, user: "u".repeat(1000) }));
    expect(error).toMatchObject({ status: 413, code: "body-too-large" });
  });
});

describe("messages", () => {
  it("of a system that stand last are asked; those in front of them set the tone", () => {
    const messages = [
      {
        role: "developer",
        content: [
          { type: "text", text: "简" },
          { type: "text", text: "短" },
        ],
      },
      { role: "system", content: "写一首诗。" },
    ];
    expect(asked({ messages }).messages).toEqual([
      { role: "system", content: "简短" },
      { role: "user", content: "写一首诗。" },
    ]);
  });

  it("of an assistant carry thoughts, refusals and calls", () => {
    const messages = [
      ...question.messages,
      { role: "assistant", content: null, refusal: "不行。", tool_calls: [] },
      { role: "user", name: "张三", content: "?" },
      { role: "assistant", content: [{ type: "refusal", refusal: "不。" }], reasoning: "嗯" },
      { role: "user", content: "?" },
    ];
    expect(asked({ messages }).messages.filter(({ role }) => role === "assistant")).toEqual([
      { role: "assistant", content: "不行。" },
      { role: "assistant", content: "不。", reasoning: "嗯" },
    ]);
  });

  const call = (id: string) => ({ id, type: "function", function: { name: id, arguments: "{}" } });
  const result = (id: string) => ({ role: "tool", tool_call_id: id, content: `of ${id}` });

  it.each([
    ["in another order", ["b", "a"], ["of a", "of b"]],
    ["of a part of the calls", ["b"], ["", "of b"]],
    ["with ids that nobody gave", ["x", "y"], ["of x", "of y"]],
    ["with one id for all", ["a", "a"], ["of a", "of a"]],
  ])("with results %s are put beside their calls", (_how, results, expected) => {
    const messages = [
      ...question.messages,
      { role: "assistant", content: "", tool_calls: [call("a"), call("b")] },
      ...results.map(result),
      { role: "user", content: "?" },
    ];
    const contents = asked({ messages }).messages.flatMap(({ role, content }) =>
      role === "tool" ? [content] : [],
    );
    expect(contents).toEqual(expected);
  });

  it("with the result of a function are those of a tool", () => {
    const messages = [...question.messages, { role: "function", name: "f", content: "1" }];
    expect(asked({ messages }).messages.at(-1)).toEqual({ role: "tool", content: "1" });
  });
});

it("whatever is taken, the model takes too", () => {
  const part = fc.oneof(
    fc.record({ type: fc.constant("text"), text: fc.string() }),
    fc.record({ type: fc.constant("image_url"), image_url: fc.constant(PIXEL_URI) }),
  );
  const content = fc.option(fc.oneof(fc.string(), fc.array(part, { maxLength: 3 })));
  const calls = fc.option(
    fc.array(
      fc.record({ id: fc.string(), function: fc.record({ name: fc.string({ minLength: 1 }) }) }),
    ),
  );
  const message = fc.record(
    {
      role: fc.constantFrom("system", "developer", "user", "assistant", "tool", "function"),
      content,
      tool_calls: calls,
      tool_call_id: fc.string(),
    },
    { requiredKeys: ["role"] },
  );
  // Mostly within its range.
  const number = (min: number, max: number) =>
    fc.option(
      fc.oneof(
        { weight: 9, arbitrary: fc.double({ min, max, noNaN: true }) },
        { weight: 9, arbitrary: fc.integer({ min: Math.ceil(min), max: Math.floor(max) }) },
        { weight: 1, arbitrary: fc.double() },
      ),
    );
  const body = fc.record(
    {
      messages: fc.array(message, { minLength: 1, maxLength: 6 }),
      tools: fc.option(fc.array(fc.constantFrom(...TOOLS), { maxLength: 2 })),
      tool_choice: fc.option(
        fc.constantFrom("auto", "none", "required", { function: { name: "draw" } }),
      ),
      response_format: fc.constantFrom(null, { type: "json_object" }, { type: "text" }),
      guided_choice: fc.option(fc.array(fc.string({ minLength: 1 }), { minLength: 1 })),
      guided_regex: fc.option(fc.string({ minLength: 1 })),
      continue_final_message: fc.constantFrom(null, null, false, true),
      stop: fc.option(fc.oneof(fc.string(), fc.array(fc.string()))),
      logprobs: fc.constantFrom(null, true),
      temperature: number(0, 2),
      top_p: number(0, 1),
      min_p: number(0, 1),
      presence_penalty: number(-2, 2),
      frequency_penalty: number(-2, 2),
      repetition_penalty: number(0, 2),
      seed: fc.option(fc.maxSafeInteger()),
      top_k: fc.option(fc.integer({ min: -1, max: 99 })),
      max_tokens: fc.option(fc.integer({ min: 1, max: 10_000 })),
      top_logprobs: fc.constantFrom(null, null, null, 0, 20),
      thinking_budget: fc.option(fc.nat()),
    },
    { requiredKeys: ["messages"] },
  );
  let taken = 0;
  fc.assert(
    fc.property(body, (fields) => {
      let request: ReturnType<typeof asked>;
      try {
        request = asked(fields);
      } catch (error) {
        expect(error).toBeInstanceOf(RequestError);
        return;
      }
      taken++;
      expect(() => checkRequest(request)).not.toThrow();
    }),
    effort(2000),
  );
  expect(taken).toBeGreaterThan(100);
});
