// openAiVlm over real sockets: against servers that behave, and against everything that others were seen to do instead.

import { afterEach, describe, expect, it } from "vitest";
import { isVlmError, type RemoteError } from "../../../src/vlm/errors.ts";
import { type OpenAiVlmOptions, openAiVlm } from "../../../src/vlm/remote/index.ts";
import type { ChatMessage, StreamPart } from "../../../src/vlm/vision-language-model.ts";
import {
  ChatServer,
  chunk,
  endless,
  events,
  hangsUp,
  rawEvents,
  replies,
  says,
  silent,
  USAGE,
  type Write,
} from "../../support/chat-server.ts";
import { PIXEL_PNG } from "../../support/events.ts";
import { NOBODY } from "../../support/nobody.ts";

const PIXEL = Buffer.from(PIXEL_PNG).toString("base64");
const KEY = "sk-CANARY-of-a-key-0123456789";
const SECRET = "这是不能写进日志的聊天内容";

const closing: (() => Promise<void>)[] = [];
afterEach(async () => {
  for (const close of closing.splice(0).reverse()) await close();
});

async function setup(
  writes: Write | readonly Write[],
  options: Partial<OpenAiVlmOptions> = {},
  models?: unknown,
) {
  const server = await new ChatServer(writes, models).listen();
  closing.push(() => server.close());
  const model = openAiVlm({
    baseURL: server.baseURL,
    model: "eyes",
    apiKey: KEY,
    retries: 0,
    ...options,
  });
  closing.push(() => model.dispose());
  return { server, model };
}

const QUESTION = { messages: [{ role: "user" as const, content: SECRET }] };

const TOOLS = [
  {
    type: "function",
    function: { name: "look", parameters: { type: "object", properties: {} } },
  },
];

async function failureOf(promise: Promise<unknown>): Promise<RemoteError> {
  const error = await promise.then(
    () => undefined,
    (reason: unknown) => reason,
  );
  expect(error).toBeInstanceOf(Error);
  return error as RemoteError;
}

/** Nothing that a log may not hold is anywhere in an error. */
function expectClean(error: Error): void {
  const everything = `${error.stack} ${JSON.stringify(error)} ${String(error.cause)}`;
  expect(everything).not.toContain("CANARY");
  expect(everything).not.toContain(SECRET);
  expect(everything).not.toContain(PIXEL);
}

describe("a request", () => {
  it("becomes a chat completion: pictures as data URIs of their own kind, settings under their names", async () => {
    const { server, model } = await setup(says("一只", "猫。"));
    const result = await model.generate({
      messages: [
        { role: "system", content: "简短。" },
        {
          role: "user",
          content: [
            { type: "image", data: PIXEL_PNG },
            { type: "text", text: "这是什么？" },
          ],
        },
      ],
      maxTokens: 77,
      temperature: 0.5,
      topP: 0.9,
      topK: 7,
      minP: 0.1,
      repetitionPenalty: 1.1,
      presencePenalty: 1,
      seed: 3,
      stop: "完",
      chat: "group:1",
      priority: 5,
    });
    expect(server.asked[0]?.path).toBe("/v1/chat/completions");
    expect(server.asked[0]?.headers.authorization).toBe(`Bearer ${KEY}`);
    expect(server.asked[0]?.body).toEqual({
      model: "eyes",
      messages: [
        { role: "system", content: "简短。" },
        {
          role: "user",
          content: [
            { type: "image_url", image_url: { url: `data:image/png;base64,${PIXEL}` } },
            { type: "text", text: "这是什么？" },
          ],
        },
      ],
      stream: true,
      stream_options: { include_usage: true },
      max_tokens: 77,
      temperature: 0.5,
      top_p: 0.9,
      top_k: 7,
      min_p: 0.1,
      repetition_penalty: 1.1,
      presence_penalty: 1,
      seed: 3,
      stop: ["完"],
    });
    expect(result).toMatchObject({
      text: "一只猫。",
      reasoning: "",
      toolCalls: [],
      finishReason: "stop",
      usage: { promptTokens: 30, completionTokens: 5, reasoningTokens: 0, droppedTurns: 0 },
      cache: { imageHits: 0, imageMisses: 1, promptTokens: 16 },
    });
    expect(result.timings.totalMs).toBeGreaterThan(0);
  });

  it("pairs calls with their results by id, and shows pictures of results behind all of them", async () => {
    const { server, model } = await setup(says("好。"));
    const call = (name: string) => ({ name, arguments: { where: name } });
    const messages: ChatMessage[] = [
      { role: "user", content: "?" },
      { role: "assistant", content: "旧", reasoning: "旧的想法" },
      { role: "user", content: "看" },
      {
        role: "assistant",
        content: "",
        reasoning: "要看两处",
        toolCalls: [call("a"), { name: "b", arguments: '{"raw":1}' }],
      },
      {
        role: "tool",
        content: [
          { type: "image", data: PIXEL_PNG },
          { type: "text", text: "左" },
        ],
      },
      { role: "tool", content: "右" },
    ];
    await model.generate({ messages, tools: TOOLS, toolChoice: { name: "look" } });
    const { body } = server.asked[0]!;
    expect(body.messages).toEqual([
      { role: "user", content: "?" },
      { role: "assistant", content: "旧" },
      { role: "user", content: "看" },
      {
        role: "assistant",
        content: "",
        reasoning_content: "要看两处",
        tool_calls: [
          {
            id: "call_0",
            type: "function",
            function: { name: "a", arguments: '{"where":"a"}' },
          },
          { id: "call_1", type: "function", function: { name: "b", arguments: '{"raw":1}' } },
        ],
      },
      { role: "tool", tool_call_id: "call_0", content: "左" },
      { role: "tool", tool_call_id: "call_1", content: "右" },
      {
        role: "user",
        content: [{ type: "image_url", image_url: { url: `data:image/png;base64,${PIXEL}` } }],
      },
    ]);
    expect(body.tools).toEqual(TOOLS);
    expect(body.tool_choice).toEqual({ type: "function", function: { name: "look" } });
  });

  it("asks for no thought where none is wanted, and passes fields on that only the server knows", async () => {
    const { server, model } = await setup(says("好"), { extraBody: { priority: 3 } });
    await model.generate({ ...QUESTION, maxReasoningTokens: 0 });
    expect(server.asked[0]?.body).toMatchObject({
      chat_template_kwargs: { enable_thinking: false },
      priority: 3,
    });
  });

  it("is checked like any other: wrong options and bytes that are no picture are refused before anything is sent", async () => {
    const { server, model } = await setup(says("好"));
    expect(() => model.stream({ ...QUESTION, maxTokens: 0 })).toThrow(RangeError);
    const content = [
      { type: "image" as const, data: PIXEL_PNG },
      { type: "image" as const, data: new TextEncoder().encode("<html>no picture</html>") },
    ];
    const refused = model.generate({ messages: [{ role: "user", content }] });
    await expect(refused).rejects.toMatchObject({ code: "image-unsupported", imageIndex: 1 });
    expect(server.asked).toEqual([]);
  });

  it("sends no key where none was given, not even the environment's", async () => {
    process.env.OPENAI_API_KEY = "sk-CANARY-of-the-environment";
    closing.push(async () => void delete process.env.OPENAI_API_KEY);
    const { server, model } = await setup(says("好"), {
      apiKey: undefined,
      headers: { "x-team": "eyes" },
    });
    await model.generate(QUESTION);
    expect(server.asked[0]?.headers).not.toHaveProperty("authorization");
    expect(server.asked[0]?.headers["x-team"]).toBe("eyes");
  });

  it("goes to the first model that the server lists, where none was named", async () => {
    const models = { data: [{ id: "Qwen/Qwen3-VL-8B", max_model_len: 16_384 }, { id: "b" }] };
    const { server, model } = await setup(says("好"), { model: undefined }, models);
    await model.generate(QUESTION);
    expect(server.asked[0]?.body.model).toBe("Qwen/Qwen3-VL-8B");
    expect(model.info).toMatchObject({ name: "Qwen/Qwen3-VL-8B", contextTokens: 16_384 });
  });
});

describe("an answer", () => {
  it("streams while it is written, and its end says why and how much", async () => {
    const { model } = await setup([
      events(chunk({ content: "一二三" }), chunk({}, "length"), {
        choices: [],
        usage: { prompt_tokens: 3, completion_tokens: 9 },
      }),
      events(chunk({ content: "一" }), chunk({}, "length"), {
        choices: [],
        usage: { prompt_tokens: 3, completion_tokens: 10 },
      }),
      events({ choices: [{ delta: { content: "一" }, finish_reason: "stop", stop_reason: "完" }] }),
    ]);
    const limited = { ...QUESTION, maxTokens: 10 };
    await expect(model.generate(limited)).resolves.toMatchObject({ finishReason: "context-full" });
    await expect(model.generate(limited)).resolves.toMatchObject({ finishReason: "max-tokens" });
    await expect(model.generate(limited)).resolves.toMatchObject({
      text: "一",
      finishReason: "stop-string",
    });
  });

  it.each([
    [
      "reasoning_content",
      [chunk({ reasoning_content: "嗯，" }), chunk({ reasoning_content: "猫" })],
    ],
    ["reasoning", [chunk({ reasoning: "嗯，" }), chunk({ reasoning: "猫", content: "" })]],
    [
      "<think> in the text, cut anywhere",
      ["<th", "ink>\n嗯，", "猫\n</thi", "nk>\n\n"].map((content) => chunk({ content })),
    ],
  ])("is told from the thought before it: %s", async (_form, thought) => {
    const { model } = await setup(
      events(...thought, chunk({ content: "是猫。" }), chunk({}, "stop")),
    );
    await expect(model.generate(QUESTION)).resolves.toMatchObject({
      reasoning: "嗯，猫",
      text: "是猫。",
    });
  });

  it("is told from a thought that the prompt has opened, unless the server takes that out", async () => {
    const { model } = await setup(
      [
        events(chunk({ content: "嗯，猫</think>\n\n是猫。" }), chunk({}, "stop")),
        events(
          chunk({ reasoning_content: "嗯，猫" }),
          chunk({ content: "是猫。" }),
          chunk({}, "stop"),
        ),
      ],
      { thinking: true, opensThought: true },
    );
    const expected = { reasoning: "嗯，猫", text: "是猫。" };
    await expect(model.generate(QUESTION)).resolves.toMatchObject(expected);
    await expect(model.generate(QUESTION)).resolves.toMatchObject(expected);
    expect(model.info.thinking).toBe(true);
  });

  const call = (piece: object) => chunk({ tool_calls: [piece] });
  it.each<[string, object[]]>([
    [
      "in the interface's own pieces",
      [
        call({ index: 0, id: "x", type: "function", function: { name: "look", arguments: "" } }),
        call({ index: 0, function: { arguments: '{"where"' } }),
        call({ index: 0, function: { arguments: ':"左"}' } }),
        call({ index: 1, id: "y", function: { name: "draw", arguments: "{}" } }),
      ],
    ],
    [
      "without a number",
      [
        call({ id: "x", function: { name: "look", arguments: '{"where":' } }),
        call({ function: { arguments: '"左"}' } }),
        call({ id: "y", function: { name: "draw", arguments: "{}" } }),
      ],
    ],
    [
      "whole, all with the same number",
      [
        call({ index: 0, id: "x", function: { name: "look", arguments: { where: "左" } } }),
        call({ index: 0, id: "y", function: { name: "draw", arguments: null } }),
      ],
    ],
    [
      "with a new id in every piece",
      [
        call({ index: 0, id: "x", function: { name: "look" } }),
        call({ index: 0, id: "made-up-1", function: { arguments: '{"where":"左"}' } }),
        call({ index: 1, id: "y", function: { name: "draw" } }),
      ],
    ],
    [
      "with the head repeated, and a brace lost",
      [
        call({ index: 0, id: "x", function: { name: "look", arguments: '{"where":' } }),
        call({ index: 0, id: "x", function: { name: "look", arguments: '"左"' } }),
        call({ index: 1, id: "y", function: { name: "draw", arguments: "" } }),
      ],
    ],
  ])("has calls of tools, %s", async (_form, pieces) => {
    // Some servers end such an answer with "stop".
    const { model } = await setup(events(...pieces, chunk({}, "stop")));
    const result = await model.generate({ ...QUESTION, tools: TOOLS });
    expect(result.finishReason).toBe("tool-calls");
    expect(result.text).toBe("");
    expect(result.toolCalls).toEqual([
      { type: "tool-call", id: "x", name: "look", arguments: '{"where":"左"}' },
      { type: "tool-call", id: "y", name: "draw", arguments: "{}" },
    ]);
  });

  it("has one call where no more are wanted, whatever a server makes of the wish", async () => {
    const pieces = [
      call({ index: 0, id: "x", function: { name: "look", arguments: "{}" } }),
      call({ index: 1, id: "y", function: { name: "draw", arguments: "{}" } }),
    ];
    const { model, server } = await setup(events(...pieces, chunk({}, "tool_calls")));
    const asked = { ...QUESTION, tools: TOOLS, parallelToolCalls: false };
    const { toolCalls } = await model.generate(asked);
    expect(toolCalls).toMatchObject([{ name: "look" }]);
    expect(server.asked[0]?.body).toMatchObject({ parallel_tool_calls: false });
  });

  it("marks a call whose arguments are no JSON by any means", async () => {
    const { model } = await setup(
      events(
        call({ index: 0, id: "", function: { name: "look", arguments: "]]" } }),
        chunk({}, "tool_calls"),
      ),
    );
    const { toolCalls } = await model.generate({ ...QUESTION, tools: TOOLS });
    expect(toolCalls).toEqual([
      { type: "tool-call", id: "call_0", name: "look", arguments: "]]", invalid: true },
    ]);
  });
});

describe("a form of the answer", () => {
  const schema = { type: "object", properties: { a: { type: "integer" } }, required: ["a"] };
  const named = (wanted: object) => ({
    response_format: {
      type: "json_schema",
      json_schema: { name: "answer", strict: true, schema: wanted },
    },
  });
  it.each([
    [{ type: "json", schema }, '{"a":1}', '{"a":1}', named(schema)],
    [{ type: "json" }, "{}", "{}", { response_format: { type: "json_object" } }],
    [
      { type: "choice", options: ["猫", "狗"] },
      '"猫"',
      "猫",
      named({ type: "string", enum: ["猫", "狗"] }),
    ],
    [{ type: "choice", options: ["猫", "狗"] }, "狗", "狗", {}],
    [
      { type: "regex", pattern: "\\d{4}" },
      "2026",
      "2026",
      { structured_outputs: { regex: "\\d{4}" }, guided_regex: "\\d{4}", regex: "\\d{4}" },
    ],
  ] as const)(
    "is asked for in the server's words: %j",
    async (responseFormat, said, text, body) => {
      const { server, model } = await setup(says(...said));
      const answer = await model.generate({ ...QUESTION, responseFormat });
      expect(server.asked[0]?.body).toMatchObject(body);
      expect(answer).toMatchObject({ text, finishReason: "stop" });
      expect(answer).not.toHaveProperty("incomplete");
    },
  );

  it.each([
    [{ type: "json", schema }, "好的：{}"],
    [{ type: "choice", options: ["猫", "狗"] }, "鸟"],
    [{ type: "regex", pattern: "\\d{4}" }, "今年"],
  ] as const)("that the server ignored is told: %j", async (responseFormat, said) => {
    const { model } = await setup(says(said));
    const answer = await model.generate({ ...QUESTION, responseFormat });
    expect(answer).toMatchObject({ text: said, incomplete: true });
  });

  it("does not concern an answer that calls a tool", async () => {
    const call = { index: 0, id: "x", function: { name: "look", arguments: "{}" } };
    const { model } = await setup(events(chunk({ tool_calls: [call] }), chunk({}, "tool_calls")));
    const responseFormat = { type: "json", schema } as const;
    const answer = await model.generate({ ...QUESTION, tools: TOOLS, responseFormat });
    expect(answer.finishReason).toBe("tool-calls");
    expect(answer).not.toHaveProperty("incomplete");
  });
});

describe("what servers were seen to do", () => {
  const data = (value: object) => `data: ${JSON.stringify(value)}`;
  const GOOD = [data(chunk({ content: "好" })), data(chunk({}, "stop"))];
  it.each<[string, Write]>([
    ["no usage, no role", events(chunk({ content: "好" }), chunk({}, "stop"))],
    [
      "nulls everywhere",
      events(
        chunk({ role: null, content: null, tool_calls: null, reasoning_content: null }),
        chunk({ content: "好" }),
        chunk(null, "stop"),
        { choices: null, usage: null },
      ),
    ],
    [
      "empty choices first, role alone, usage in every chunk",
      events(
        { choices: [], prompt_filter_results: [] },
        { ...chunk({ role: "assistant" }), usage: { prompt_tokens: 1 } },
        { ...chunk({ content: "好" }), usage: { prompt_tokens: 1, completion_tokens: 1 } },
        { ...chunk({}, "stop"), usage: { prompt_tokens: 1, completion_tokens: 1 } },
      ),
    ],
    [
      "comments and CRLF",
      rawEvents([
        `: ping\r\n\r\n`,
        ...GOOD.map((line) => `${line}\r\n\r\n: ping\r\n\r\n`),
        "data: [DONE]\r\n\r\n",
      ]),
    ],
    [
      "two [DONE] and more behind",
      rawEvents(
        [...GOOD, "data: [DONE]", "data: [DONE]", data(chunk({ content: "坏" }))].map(
          (line) => `${line}\n\n`,
        ),
      ),
    ],
    ["no [DONE]", rawEvents(GOOD.map((line) => `${line}\n\n`))],
    [
      "no space behind data:, names and ids of events",
      rawEvents(
        GOOD.map((line) => `event: message\nid: 1\n${line.replace("data: ", "data:")}\n\n`),
      ),
    ],
    [
      "a type that is not an event stream's",
      rawEvents(
        GOOD.map((line) => `${line}\n\n`),
        "text/plain",
      ),
    ],
    [
      "events cut in the middle of a character",
      cutEvents(GOOD.map((line) => `${line}\n\n`).join("")),
    ],
    ["no reason at its end, but usage", events(chunk({ content: "好" }), USAGE)],
    ["a reason nobody knows", events(chunk({ content: "好" }), chunk({}, "eos_token"))],
    [
      "text as a list of parts",
      events(chunk({ content: [{ type: "text", text: "好" }] }), chunk({}, "stop")),
    ],
    [
      "one piece, though a stream was wanted",
      replies(200, {
        choices: [
          { index: 0, message: { role: "assistant", content: "好" }, finish_reason: "stop" },
        ],
      }),
    ],
  ])("is an answer: %s", async (_what, write) => {
    const { model } = await setup(write);
    await expect(model.generate(QUESTION)).resolves.toMatchObject({
      text: "好",
      finishReason: "stop",
    });
  });

  it("counts pieces where the server counts nothing", async () => {
    const { model } = await setup(
      events(
        chunk({ reasoning: "嗯" }),
        chunk({ content: "好" }),
        chunk({ content: "的" }),
        chunk({}, "stop"),
      ),
    );
    const { usage, cache } = await model.generate(QUESTION);
    expect(usage).toMatchObject({ promptTokens: 0, completionTokens: 3, reasoningTokens: 1 });
    expect(cache).not.toHaveProperty("promptTokens");
  });

  it("joins halves of a character that came in two pieces", async () => {
    const [high, low] = ["😀".charAt(0), "😀".charAt(1)];
    const piece = (half: string) =>
      `data: {"choices":[{"delta":{"content":"\\u${half.charCodeAt(0).toString(16)}"}}]}\n\n`;
    const { model } = await setup(
      rawEvents([piece(high!), piece(low!), `${data(chunk({}, "stop"))}\n\n`]),
    );
    const parts: StreamPart[] = [];
    for await (const part of model.stream(QUESTION)) parts.push(part);
    expect(parts.slice(0, -1)).toEqual([{ type: "text-delta", text: "😀" }]);
  });
});

/** The bytes of a text, in pieces of five. */
function cutEvents(text: string): Write {
  return async (response) => {
    response.writeHead(200, { "content-type": "text/event-stream; charset=utf-8" });
    const bytes = Buffer.from(text);
    for (let at = 0; at < bytes.length; at += 5) response.write(bytes.subarray(at, at + 5));
    response.end();
  };
}

describe("a failure", () => {
  const echo = (extra: object = {}) => ({
    error: { message: `Bad input: ${SECRET} with key ${KEY}`, ...extra },
  });
  it.each<[string, Write, object]>([
    [
      "a wrong key",
      replies(401, echo({ code: "invalid_api_key" })),
      { code: "remote-unauthorized", status: 401 },
    ],
    ["a forbidden model", replies(403, "Forbidden"), { code: "remote-unauthorized", status: 403 }],
    [
      "an unknown model",
      replies(404, { object: "error", message: "The model `eyes` does not exist.", code: 404 }),
      { code: "remote-model-unknown", status: 404 },
    ],
    [
      "too many requests",
      replies(429, echo(), { "retry-after": "7" }),
      { code: "remote-busy", status: 429, retryAfterMs: 7000 },
    ],
    [
      "too many, more exactly",
      replies(429, echo(), { "retry-after-ms": "120", "retry-after": "7" }),
      { code: "remote-busy", retryAfterMs: 120 },
    ],
    [
      "overload",
      replies(503, "<html><body>CANARY</body></html>"),
      { code: "remote-busy", status: 503 },
    ],
    [
      "a broken server",
      replies(500, { error: "CUDA error" }),
      { code: "remote-failed", status: 500 },
    ],
    ["a proxy that gave up", replies(504, "<html>"), { code: "remote-timed-out", status: 504 }],
    [
      "a refused request",
      replies(400, { detail: [{ msg: "bad", input: SECRET }] }),
      { code: "remote-refused", status: 400 },
    ],
    ["an error with status 200", replies(200, echo({ code: 500 })), { code: "remote-failed" }],
    [
      "an error amid the answer",
      events(chunk({ content: "好" }), echo({ code: 503 })),
      { code: "remote-busy", status: 503 },
    ],
    [
      "a page in place of JSON",
      replies(200, "<!doctype html><title>CANARY</title>"),
      { code: "remote-broken" },
    ],
    ["JSON that is none", rawEvents([`data: {"choices": CANARY\n\n`]), { code: "remote-broken" }],
    ["no answer at all", rawEvents([]), { code: "remote-broken" }],
    ["an answer without an end", events(chunk({ content: "好" })), { code: "remote-broken" }],
    ["a connection cut before the answer", hangsUp(), { code: "remote-unreachable" }],
    [
      "a connection cut amid the answer",
      hangsUp(chunk({ content: "好" })),
      { code: "remote-broken" },
    ],
    [
      "a filter",
      events(chunk({ content: "好" }), chunk({}, "content_filter")),
      { code: "remote-filtered" },
    ],
    [
      "an answer given up",
      events(chunk({ content: "好" }), chunk({}, "abort")),
      { code: "remote-failed" },
    ],
    [
      "a context too small, vLLM",
      replies(400, {
        error: {
          message: `This model's maximum context length is 4096 tokens. However, you requested 5000 tokens (4000 in the messages, 1000 in the completion). ${SECRET}`,
          type: "BadRequestError",
          code: 400,
        },
      }),
      { code: "prompt-too-long", promptTokens: 4000, maxPromptTokens: 4096 },
    ],
    [
      "a context too small, llama-server",
      replies(400, {
        error: {
          code: 400,
          message: "the request exceeds the available context size",
          type: "exceed_context_size_error",
          n_prompt_tokens: 5000,
          n_ctx: 4096,
        },
      }),
      { code: "prompt-too-long", promptTokens: 5000, maxPromptTokens: 4096 },
    ],
    [
      "a context too small, no numbers",
      replies(413, { error: { message: "too long", code: "context_length_exceeded" } }),
      { code: "prompt-too-long", promptTokens: Number.NaN },
    ],
  ])("is one of our errors, without keys or chats: %s", async (_what, write, expected) => {
    const { model } = await setup(write);
    const error = await failureOf(model.generate(QUESTION));
    expect(isVlmError(error)).toBe(true);
    expect(error).toMatchObject(expected);
    expectClean(error);
  });

  it("quotes the server where its words are its own", async () => {
    const { model } = await setup(
      replies(400, {
        error: { message: "top_logprobs must be at most 20, see https://example.com/CANARY" },
      }),
    );
    const error = await failureOf(model.generate(QUESTION));
    expect(error.message).toMatch(
      /^127\.0\.0\.1:\d+ refused with HTTP 400\. It says: top_logprobs must be at most 20, see <url>$/,
    );
  });

  it("says so when nobody listens", async () => {
    const { model } = await setup(says("好"), { baseURL: `http://${NOBODY}/v1` });
    const error = await failureOf(model.generate(QUESTION));
    expect(error).toMatchObject({ code: "remote-unreachable" });
    expect(error.message).toMatch(/cannot be reached \(ECONNREFUSED\)/);
    await expect(model.ping()).resolves.toMatchObject({
      up: false,
      error: { code: "remote-unreachable" },
    });
  });

  it("is silence for too long, before the answer and in it", async () => {
    const { server, model } = await setup(
      [
        silent,
        async (response) => {
          response.writeHead(200, { "content-type": "text/event-stream" });
          response.write(`data: ${JSON.stringify(chunk({ content: "好" }))}\n\n`);
        },
      ],
      { firstPartTimeoutMs: 1_000, silenceTimeoutMs: 1_000 },
    );
    await expect(model.generate(QUESTION)).rejects.toMatchObject({ code: "remote-timed-out" });
    await expect.poll(() => server.asked[0]?.hungUp).toBe(true);
    await expect(model.generate(QUESTION)).rejects.toMatchObject({ code: "remote-timed-out" });
    await expect.poll(() => server.asked[1]?.hungUp).toBe(true);
  });
});

describe("asking again", () => {
  const busy = replies(429, {}, { "retry-after-ms": "1" });

  it("happens before the first part of an answer only", async () => {
    const { server, model } = await setup(
      [busy, replies(500, {}, { "retry-after-ms": "1" }), says("好")],
      { retries: 2 },
    );
    await expect(model.generate(QUESTION)).resolves.toMatchObject({ text: "好" });
    expect(server.asked).toHaveLength(3);
    const { server: cutting, model: cut } = await setup(
      [hangsUp(chunk({ content: "好" })), says("再")],
      { retries: 2 },
    );
    await expect(cut.generate(QUESTION)).rejects.toMatchObject({ code: "remote-broken" });
    expect(cutting.asked).toHaveLength(1);
  });

  it("ends after so many times, and does not happen where it would help nothing or take too long", async () => {
    const { server, model } = await setup(busy, { retries: 1 });
    await expect(model.generate(QUESTION)).rejects.toMatchObject({ code: "remote-busy" });
    expect(server.asked).toHaveLength(2);
    const { server: strict, model: refused } = await setup(replies(401, {}), { retries: 5 });
    await expect(refused.generate(QUESTION)).rejects.toMatchObject({ code: "remote-unauthorized" });
    expect(strict.asked).toHaveLength(1);
    const { server: full, model: later } = await setup(replies(429, {}, { "retry-after": "60" }), {
      retries: 5,
    });
    await expect(later.generate(QUESTION)).rejects.toMatchObject({ retryAfterMs: 60_000 });
    expect(full.asked).toHaveLength(1);
  });

  it("leaves out fields that the server refused by name, and goes on without them", async () => {
    const refuse = (message: string) => replies(400, { error: { message } });
    const { server, model } = await setup([
      refuse("Unrecognized request argument supplied: top_k"),
      refuse("Unsupported parameter: 'max_tokens'. Use 'max_completion_tokens' instead."),
      refuse("stream_options: extra fields not permitted"),
      says("好"),
    ]);
    const request = { ...QUESTION, topK: 5, maxTokens: 9 };
    await expect(model.generate(request)).resolves.toMatchObject({ text: "好" });
    await model.generate(request);
    const last = server.asked.at(-1)?.body;
    expect(server.asked).toHaveLength(5);
    expect(last).toMatchObject({ max_completion_tokens: 9 });
    for (const field of ["top_k", "max_tokens", "stream_options"])
      expect(last).not.toHaveProperty(field);
  });

  it("leaves out the oldest turns until the prompt fits, and says how many", async () => {
    const fits: Write = (response, asked) => {
      const { messages } = asked.body as { messages: unknown[] };
      const tooLong = { error: { code: "context_length_exceeded", message: "" } };
      return (messages.length > 4 ? replies(400, tooLong) : says("好"))(response, asked);
    };
    const turn = (number: number): ChatMessage[] => [
      { role: "user", content: `问${number}` },
      { role: "assistant", content: `答${number}` },
    ];
    const messages: ChatMessage[] = [
      { role: "system", content: "简短。" },
      ...[1, 2, 3, 4, 5].flatMap(turn),
      { role: "user", content: "问6" },
    ];
    const { server, model } = await setup(fits);
    const { usage } = await model.generate({ messages });
    expect(usage.droppedTurns).toBe(4);
    const { messages: asked } = server.asked.at(-1)!.body as { messages: { content: string }[] };
    expect(asked.map(({ content }) => content)).toEqual(["简短。", "问5", "答5", "问6"]);
  });
});

describe("an end before the end", () => {
  it("is the caller's reason, and the server hears of it", async () => {
    const { server, model } = await setup(endless());
    const controller = new AbortController();
    const reason = new Error("enough");
    const reading = async () => {
      for await (const _ of model.stream({ ...QUESTION, signal: controller.signal })) {
        controller.abort(reason);
      }
    };
    await expect(reading()).rejects.toBe(reason);
    await expect.poll(() => server.asked[0]?.hungUp).toBe(true);
  });

  it("may come while the server is silent, or before anything is sent", async () => {
    const { server, model } = await setup(silent);
    const controller = new AbortController();
    const waiting = model.generate({ ...QUESTION, signal: controller.signal });
    const rejected = expect(waiting).rejects.toBe("enough");
    await expect.poll(() => server.asked.length).toBe(1);
    controller.abort("enough");
    await rejected;
    await expect.poll(() => server.asked[0]?.hungUp).toBe(true);
    await expect(model.generate({ ...QUESTION, signal: controller.signal })).rejects.toBe("enough");
    expect(server.asked).toHaveLength(1);
  });

  it("is a reader that leaves", async () => {
    const { server, model } = await setup(endless());
    for await (const _ of model.stream(QUESTION)) break;
    await expect.poll(() => server.asked[0]?.hungUp).toBe(true);
  });

  it("is dispose, which ends what runs and refuses what comes", async () => {
    const { server, model } = await setup(silent);
    const running = expect(model.generate(QUESTION)).rejects.toMatchObject({ code: "disposed" });
    await expect.poll(() => server.asked.length).toBe(1);
    await model.dispose();
    await running;
    expect(model.disposed).toBe(true);
    await expect(model.generate(QUESTION)).rejects.toMatchObject({ code: "disposed" });
    await model.dispose();
  });
});

describe("ping", () => {
  it("tells what the server lists, and learns its context", async () => {
    const models = { data: [{ id: "eyes", meta: { n_ctx_train: 40_960 } }, { id: 3 }, null] };
    const { server, model } = await setup(says("好"), {}, models);
    expect(model.info).toEqual({
      name: "eyes",
      device: new URL(server.baseURL).host,
      contextTokens: 32_768,
      thinking: false,
    });
    await expect(model.ping()).resolves.toEqual({ up: true, models: ["eyes"] });
    expect(model.info.contextTokens).toBe(40_960);
  });

  it("ends with the caller's reason", async () => {
    const { model } = await setup(says("好"));
    await expect(model.ping({ signal: AbortSignal.abort("enough") })).rejects.toBe("enough");
  });
});

describe("options", () => {
  it("are refused by name, keys unshown", () => {
    const wrong = {
      baseURL: "ftp://CANARY@example.com",
      apiKey: "CANARY\n",
      model: "",
      retries: -1,
    };
    const error = (() => {
      try {
        openAiVlm(wrong);
      } catch (thrown) {
        return thrown as Error;
      }
    })();
    expect(error).toBeInstanceOf(TypeError);
    expect(error?.message).not.toContain("CANARY");
    for (const name of Object.keys(wrong)) expect(error?.message).toContain(`\`${name}\``);
  });
});
