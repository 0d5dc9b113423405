// OpenAI's interface of the debug adapter, spoken to by the real client and by hand.

import OpenAI from "openai";
import { afterEach, describe, expect, it } from "vitest";
import {
  ImageDecodeError,
  PromptTooLongError,
  QueueFullError,
  RemoteError,
  ResponseFormatError,
} from "../../../src/vlm/errors.ts";
import { PIXEL_PNG } from "../../support/events.ts";
import { closeDoors, PIXEL, question, openDoor as start } from "../../support/open-ai-door.ts";

const TOOLS = [
  {
    type: "function" as const,
    function: { name: "look", parameters: { type: "object", properties: {} } },
  },
];

afterEach(closeDoors);

describe("the official client", () => {
  it("gets an answer about a picture, with usage and thoughts", async () => {
    const { client, model } = await start({ answer: { text: "一只猫。", reasoning: "嗯" } });
    const completion = await client.chat.completions.create({
      model: "eyes",
      messages: [
        { role: "developer", content: "简短。" },
        {
          role: "user",
          content: [
            {
              type: "image_url",
              image_url: { url: `data:image/png;base64,${PIXEL}`, detail: "low" },
            },
            { type: "text", text: "这是什么？" },
          ],
        },
      ],
      max_completion_tokens: 50,
      temperature: 0.3,
      top_p: 0.9,
      presence_penalty: 1,
      seed: 4,
      stop: "完",
    });
    expect(completion.choices).toEqual([
      {
        index: 0,
        message: {
          role: "assistant",
          content: "一只猫。",
          refusal: null,
          reasoning_content: "嗯",
        },
        finish_reason: "stop",
        logprobs: null,
      },
    ]);
    expect(completion.usage).toEqual({
      prompt_tokens: 2,
      completion_tokens: 2,
      total_tokens: 4,
      prompt_tokens_details: { cached_tokens: 0 },
      completion_tokens_details: { reasoning_tokens: 1 },
    });
    const { signal: _, ...request } = model.requests[0]!;
    expect(request).toEqual({
      messages: [
        { role: "system", content: "简短。" },
        {
          role: "user",
          content: [
            { type: "image", data: Buffer.from(PIXEL_PNG) },
            { type: "text", text: "这是什么？" },
          ],
        },
      ],
      maxTokens: 50,
      temperature: 0.3,
      topP: 0.9,
      presencePenalty: 1,
      seed: 4,
      stop: ["完"],
    });
  });

  it("streams text and usage, and its own helper makes the whole of it", async () => {
    const { client } = await start({ answer: "一只橘色的猫。" });
    const stream = client.chat.completions.stream({
      ...question,
      stream_options: { include_usage: true },
    });
    let text = "";
    stream.on("content", (delta) => {
      text += delta;
    });
    const whole = await stream.finalChatCompletion();
    expect(text).toBe("一只橘色的猫。");
    expect(whole.choices[0]?.message.content).toBe(text);
    expect(whole.usage?.total_tokens).toBe(3);
  });

  it.each([false, true])("calls tools and shows their results (streaming: %s)", async (stream) => {
    const { client, model } = await start({
      answer: [{ toolCalls: [{ name: "look", arguments: { where: "左" } }] }, "猫。"],
    });
    const first = { ...question, tools: TOOLS, tool_choice: "auto" as const };
    const completion = stream
      ? await client.chat.completions.stream(first).finalChatCompletion()
      : await client.chat.completions.create(first);
    const [choice] = completion.choices;
    expect(choice?.finish_reason).toBe("tool_calls");
    expect(choice?.message.content || null).toBeNull();
    const call = choice?.message.tool_calls?.[0];
    expect(call).toMatchObject({
      id: expect.stringMatching(/^call_[0-9a-f]{24}$/u),
      type: "function",
      function: { name: "look", arguments: '{"where":"左"}' },
    });
    await client.chat.completions.create({
      model: "eyes",
      tools: TOOLS,
      messages: [
        ...question.messages,
        choice!.message,
        { role: "tool", tool_call_id: call!.id, content: "一只猫" },
      ],
    });
    expect(model.requests[1]?.messages.slice(1)).toMatchObject([
      {
        role: "assistant",
        content: "",
        toolCalls: [{ name: "look", arguments: '{"where":"左"}' }],
      },
      { role: "tool", content: "一只猫" },
    ]);
  });

  it("sees how likely each token was, in one piece and streamed", async () => {
    const score = { text: "猫", bytes: Buffer.from("猫"), logprob: -0.25, end: false };
    const end = { text: "<|im_end|>", bytes: new Uint8Array(), end: true };
    const logprobs = [{ ...score, likeliest: [score, { ...end, logprob: -Infinity }] }];
    const { client, model } = await start({
      answer: async () =>
        (async function* () {
          yield { type: "text-delta" as const, text: "猫" };
          const usage = { promptTokens: 3, completionTokens: 1, reasoningTokens: 0 };
          yield {
            type: "finish" as const,
            finishReason: "stop" as const,
            usage: { ...usage, imageTokens: 0, droppedTurns: 0 },
            timings: { queueMs: 0, imageMs: 0, visionMs: 0, prefillMs: 0, decodeMs: 0, totalMs: 0 },
            cache: { imageHits: 0, imageMisses: 0 },
            logprobs,
          };
        })(),
    });
    const bytes = [...Buffer.from("猫")];
    const likeliest = [
      { token: "猫", logprob: -0.25, bytes },
      { token: "<|im_end|>", logprob: -9999, bytes: [] },
    ];
    const expected = [{ token: "猫", logprob: -0.25, bytes, top_logprobs: likeliest }];
    const asked = { ...question, logprobs: true, top_logprobs: 2 };
    const whole = await client.chat.completions.create(asked);
    expect(whole.choices[0]?.logprobs?.content).toEqual(expected);
    const streamed = client.chat.completions.stream(asked);
    expect((await streamed.finalChatCompletion()).choices[0]?.logprobs?.content).toEqual(expected);
    await client.chat.completions.create({ ...question, logprobs: true });
    expect(model.requests.map(({ topLogprobs }) => topLogprobs)).toEqual([2, 2, 0]);
  });

  it("lists the model, and is refused without the right key", async () => {
    const { client } = await start({}, { token: "a-token-of-some-length" });
    const { data } = await client.models.list();
    expect(data.map(({ id }) => id)).toEqual(["eyes"]);
    const stranger = new OpenAI({ baseURL: client.baseURL, apiKey: "wrong", maxRetries: 0 });
    await expect(stranger.models.list()).rejects.toMatchObject({
      status: 401,
      code: "invalid_api_key",
      type: "authentication_error",
    });
  });

  it("that leaves ends the work", async () => {
    const { client, model } = await start({
      answer: async function* () {
        for (;;) {
          yield { type: "text-delta" as const, text: "啊" };
          await new Promise((resolve) => setImmediate(resolve));
        }
      } as never,
    });
    const stream = await client.chat.completions.create({ ...question, stream: true });
    for await (const _chunk of stream) break;
    await expect.poll(() => model.requests[0]?.signal?.aborted).toBe(true);
  });

  it.each([
    [new PromptTooLongError(9000, 4096), 400, "context_length_exceeded", /context length/],
    [new QueueFullError(3, 3), 503, "queue-full", /./],
    [new RemoteError("remote-filtered", "Withheld.", { host: "h" }), 400, "content_filter", /./],
    [new RemoteError("remote-busy", "Busy.", { host: "h" }), 503, "remote-busy", /./],
    [new RemoteError("remote-timed-out", "Slow.", { host: "h" }), 504, "remote-timed-out", /./],
    [new RemoteError("remote-unreachable", "Gone.", { host: "h" }), 502, "remote-unreachable", /./],
    [
      new ImageDecodeError("image-corrupt", "The picture is damaged."),
      400,
      "invalid_attachment",
      /./,
    ],
  ])("hears of an error in its own words (%#)", async (error, status, code, words) => {
    const { client } = await start({ answer: [error, error] }, { onError: () => {} });
    const plain = client.chat.completions.create(question);
    await expect(plain).rejects.toMatchObject({
      status,
      code,
      message: expect.stringMatching(words),
    });
    const streamed = async () => {
      for await (const _ of await client.chat.completions.create({ ...question, stream: true }));
    };
    // Before the answer has begun there is a status, and clients act on it.
    await expect(streamed()).rejects.toMatchObject({ status, code });
  });
});

describe("what other clients send", () => {
  it("passes: nulls, unknown keys, bare strings of pictures, empty lists", async () => {
    const { post, model } = await start({ answer: ["a", "b"] });
    const response = await post({
      model: null,
      stream: false,
      messages: [
        {
          role: "user",
          content: [{ type: "image_url", image_url: `data:image/png;base64,${PIXEL}` }],
        },
        {
          role: "assistant",
          content: null,
          reasoning_content: "嗯",
          tool_calls: [{ id: "x", type: "function", function: { name: "f", arguments: "{}" } }],
        },
        { role: "tool", tool_call_id: "x", content: null },
        { role: "user", content: null },
      ],
      tools: [],
      tool_choice: "auto",
      stop: ["", "完"],
      temperature: null,
      max_tokens: null,
      n: 1,
      top_p: 0,
      top_k: -1,
      logit_bias: {},
      prompt_cache_key: "k",
      response_format: { type: "text" },
    });
    expect(response.status).toBe(200);
    expect(model.requests[0]).toMatchObject({ stop: ["完"], temperature: 0, topK: 0 });
    expect(model.requests[0]?.messages[1]).toMatchObject({ reasoning: "嗯" });
    expect(model.requests[0]).not.toHaveProperty("tools");
  });

  it.each([
    [
      "an address of a picture",
      {
        messages: [
          {
            role: "user",
            content: [{ type: "image_url", image_url: "https://example.com/a.png?key=CANARY" }],
          },
        ],
      },
    ],
    ["nine choices", { ...question, n: 9 }],
    ["no messages", { messages: [] }],
    [
      "a sound",
      {
        messages: [
          { role: "user", content: [{ type: "input_audio", input_audio: { data: "CANARY" } }] },
        ],
      },
    ],
    ["no JSON", "CANARY{"],
  ])("is refused with its field, and nothing of what stands in it: %s", async (_what, body) => {
    const { post } = await start();
    const response = await post(body);
    expect(response.status).toBe(400);
    const { error } = (await response.json()) as { error: Record<string, unknown> };
    expect(error).toMatchObject({ type: "invalid_request_error", code: expect.any(String) });
    expect(JSON.stringify(error)).not.toContain("CANARY");
  });

  const schema = { type: "object", properties: { n: { type: "integer" } }, required: ["n"] };
  it.each([
    [{ response_format: { type: "json_object" } }, { type: "json", schema: { type: "object" } }],
    [
      {
        response_format: { type: "json_schema", json_schema: { name: "x", strict: true, schema } },
      },
      { type: "json", schema },
    ],
    [{ structured_outputs: { regex: "a|b" } }, { type: "regex", pattern: "a|b" }],
    [{ guided_choice: ["a", "b"] }, { type: "choice", options: ["a", "b"] }],
    [{ guided_json: schema }, { type: "json", schema }],
    [{ response_format: null }, undefined],
  ])("is given the form it asks for with %j", async (form, expected) => {
    const { post, model } = await start();
    expect((await post({ ...question, ...form })).status).toBe(200);
    expect(model.requests[0]?.responseFormat).toEqual(expected);
  });

  it("hears by name what of its schema cannot be kept", async () => {
    const answer = new ResponseFormatError("response-format-unsupported", "`not` at schema: no.");
    const { post } = await start({ answer });
    const response = await post({ ...question, guided_json: { not: {} } });
    expect(response.status).toBe(400);
    expect(await response.json()).toMatchObject({
      error: { message: "`not` at schema: no.", code: "response-format-unsupported" },
    });
  });

  it("hears that it is a strict tool whose schema cannot be kept", async () => {
    const answer = new ResponseFormatError("response-format-unsupported", "No.", { tool: "look" });
    const { post } = await start({ answer });
    expect(await (await post(question)).json()).toMatchObject({
      error: { code: "response-format-unsupported", param: "tools" },
    });
  });

  it("is the beginning of an answer, and an answer without a thought, by the names of vLLM and SGLang", async () => {
    const { model, post } = await start({ answer: "色" });
    const messages = [...question.messages, { role: "assistant", content: "红" }];
    await post({
      messages,
      continue_final_message: true,
      add_generation_prompt: false,
      chat_template_kwargs: { enable_thinking: false },
    });
    expect(model.requests).toMatchObject([
      { continueAnswer: true, maxReasoningTokens: 0, messages },
    ]);
    const refused = await post({ ...question, top_logprobs: 2 });
    expect(refused.status).toBe(400);
    expect(await refused.json()).toMatchObject({
      error: { message: expect.stringContaining("`top_logprobs`") },
    });
    expect((await post({ ...question, logprobs: true, top_logprobs: 21 })).status).toBe(400);
  });

  it("ends a stream with [DONE]", async () => {
    const { post } = await start({ answer: "好" });
    const response = await post({ ...question, stream: true });
    expect(response.headers.get("content-type")).toContain("text/event-stream");
    const events = (await response.text()).trim().split("\n\n");
    expect(events.at(-1)).toBe("data: [DONE]");
    expect(JSON.parse(events[0]!.slice(6))).toMatchObject({
      object: "chat.completion.chunk",
      choices: [{ index: 0, delta: { role: "assistant", content: "" }, finish_reason: null }],
    });
  });
});
