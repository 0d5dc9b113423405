// The provider under the real AI SDK: what its users call, over a model that answers from a script.

import {
  generateText,
  Output,
  readUIMessageStream,
  stepCountIs,
  streamText,
  tool,
  type UIMessage,
} from "ai";
import { describe, expect, it } from "vitest";
import { z } from "zod";
import { qwen3Vl } from "../../src/ai-sdk/index.ts";
import { FakeVisionLanguageModel } from "../../src/vlm/testing.ts";
import { PIXEL_PNG } from "../support/events.ts";

describe("generateText", () => {
  it("asks with text, pictures and settings, and tells answer, thoughts, reason and usage", async () => {
    const model = new FakeVisionLanguageModel({ answer: { text: "一只猫。", reasoning: "嗯" } });
    const signal = new AbortController().signal;
    const result = await generateText({
      model: qwen3Vl(model),
      system: "简短。",
      messages: [
        {
          role: "user",
          content: [
            { type: "image", image: PIXEL_PNG },
            { type: "text", text: "这是什么？" },
          ],
        },
      ],
      maxOutputTokens: 77,
      temperature: 0.5,
      topP: 0.9,
      topK: 7,
      presencePenalty: 1,
      frequencyPenalty: 0.5,
      seed: 3,
      stopSequences: ["完"],
      abortSignal: signal,
    });
    expect(result.text).toBe("一只猫。");
    expect(result.reasoningText).toBe("嗯");
    expect(result.finishReason).toBe("stop");
    expect(result.usage).toMatchObject({
      inputTokens: 2,
      outputTokens: 2,
      // Where versions 6 and 7 both have it.
      outputTokenDetails: { reasoningTokens: 1 },
    });
    expect(result.warnings).toEqual([]);
    // Version 7 always says so.
    expect({ toolChoice: "auto", ...model.requests[0] }).toEqual({
      toolChoice: "auto",
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
      presencePenalty: 1,
      frequencyPenalty: 0.5,
      seed: 3,
      stop: ["完"],
      signal,
    });
  });

  it.each([
    ["base64", Buffer.from(PIXEL_PNG).toString("base64")],
    ["a data URL", `data:image/png;base64,${Buffer.from(PIXEL_PNG).toString("base64")}`],
  ])("takes a picture as %s", async (_form, image) => {
    const model = new FakeVisionLanguageModel();
    const content = [{ type: "image" as const, image }];
    await generateText({ model: qwen3Vl(model), messages: [{ role: "user", content }] });
    const [part] = model.requests[0]?.messages[0]?.content ?? [];
    expect(part).toMatchObject({ type: "image" });
    expect(Buffer.from((part as { data: Uint8Array }).data).equals(PIXEL_PNG)).toBe(true);
  });

  it("runs tools in several steps and shows the model their results, pictures among them", async () => {
    const model = new FakeVisionLanguageModel({
      answer: [
        { text: "我看看。", toolCalls: [{ name: "look", arguments: { where: "左" } }] },
        { toolCalls: [{ name: "draw", arguments: {} }] },
        "一只猫。",
      ],
    });
    const result = await generateText({
      model: qwen3Vl(model),
      prompt: "左边有什么？",
      stopWhen: stepCountIs(5),
      tools: {
        look: tool({
          description: "looks",
          strict: true,
          inputSchema: z.object({ where: z.string() }),
          execute: async ({ where }) => ({ seen: `${where}边有猫` }),
        }),
        draw: tool({
          inputSchema: z.object({}),
          execute: async () => "drawn",
          toModelOutput: () => ({
            type: "content",
            value: [
              { type: "text", text: "画" },
              {
                type: "image-data",
                data: Buffer.from(PIXEL_PNG).toString("base64"),
                mediaType: "image/png",
              },
            ],
          }),
        }),
      },
    });
    expect(result.text).toBe("一只猫。");
    expect(result.steps.map(({ finishReason }) => finishReason)).toEqual([
      "tool-calls",
      "tool-calls",
      "stop",
    ]);
    expect(model.requests[0]?.tools).toMatchObject([
      {
        type: "function",
        function: {
          name: "look",
          description: "looks",
          parameters: { type: "object" },
          strict: true,
        },
      },
      { type: "function", function: { name: "draw" } },
    ]);
    expect(model.requests[2]?.messages.slice(1)).toMatchObject([
      {
        role: "assistant",
        content: "我看看。",
        toolCalls: [{ name: "look", arguments: '{"where":"左"}' }],
      },
      { role: "tool", content: '{"seen":"左边有猫"}' },
      { role: "assistant", toolCalls: [{ name: "draw" }] },
      { role: "tool", content: [{ type: "text", text: "画" }, { type: "image" }] },
    ]);
  });

  it.each([
    ["none", "none"],
    ["required", "required"],
    [{ type: "tool", toolName: "look" }, { name: "look" }],
  ] as const)("hands on the choice of tools %j", async (toolChoice, expected) => {
    const toolCalls = toolChoice === "none" ? [] : [{ name: "look", arguments: { where: "左" } }];
    const model = new FakeVisionLanguageModel({ answer: { toolCalls } });
    await generateText({
      model: qwen3Vl(model),
      prompt: "?",
      tools: { look: tool({ inputSchema: z.object({ where: z.string() }) }) },
      toolChoice,
    });
    expect(model.requests[0]?.toolChoice).toEqual(expected);
  });

  it("asks for an object in its schema, whole and streamed, and beside tools", async () => {
    const model = new FakeVisionLanguageModel({ answer: '{"animal": "cat"}' });
    const output = Output.object({ schema: z.object({ animal: z.enum(["cat", "dog"]) }) });
    const whole = await generateText({ model: qwen3Vl(model), prompt: "?", output });
    expect(whole.output).toEqual({ animal: "cat" });
    expect(whole.warnings).toEqual([]);
    const streamed = streamText({ model: qwen3Vl(model), prompt: "?", output });
    expect(await streamed.output).toEqual({ animal: "cat" });
    for (const { responseFormat } of model.requests) {
      expect(responseFormat).toMatchObject({
        type: "json",
        schema: { properties: { animal: { enum: ["cat", "dog"] } }, required: ["animal"] },
      });
    }
  });

  it("warns of what cannot be done, and refuses addresses of pictures with a sentence", async () => {
    const model = new FakeVisionLanguageModel();
    const { warnings } = await generateText({
      model: qwen3Vl(model),
      messages: [
        {
          role: "user",
          content: [
            { type: "text", text: "?" },
            { type: "file", mediaType: "audio/mp3", data: new Uint8Array(3) },
          ],
        },
      ],
      providerOptions: { napcatVlm: { mirostat: 1 }, openai: { user: "u" } },
    });
    expect(warnings).toEqual([
      { type: "unsupported", feature: "files of type audio/mp3" },
      { type: "unsupported", feature: "providerOptions.napcatVlm.mirostat" },
    ]);
    const prompt = [
      {
        role: "user" as const,
        content: [
          {
            type: "file" as const,
            mediaType: "image/*",
            data: new URL("https://example.com/a.png?key=CANARY"),
          },
        ],
      },
    ];
    const refused = qwen3Vl(model).doGenerate({ prompt });
    await expect(refused).rejects.toThrow("pass its bytes");
    await expect(refused).rejects.not.toThrow("CANARY");
  });

  it("rejects with the reason of an abort, and with the error of the model", async () => {
    const reason = new Error("enough");
    const model = new FakeVisionLanguageModel();
    const abortSignal = AbortSignal.abort(reason);
    const call = { model: qwen3Vl(model), prompt: "?", maxRetries: 0 };
    await expect(generateText({ ...call, abortSignal })).rejects.toBe(reason);
    const failing = new FakeVisionLanguageModel({ answer: new Error("broken") });
    await expect(generateText({ ...call, model: qwen3Vl(failing) })).rejects.toThrow("broken");
  });
});

describe("streamText", () => {
  it("streams thoughts, text and calls in the SDK's own order", async () => {
    const model = new FakeVisionLanguageModel({
      answer: {
        reasoning: "嗯嗯嗯嗯嗯",
        text: "我看看左边。",
        toolCalls: [{ name: "look", arguments: { where: "左" } }],
      },
    });
    const result = streamText({
      model: qwen3Vl(model),
      prompt: "?",
      tools: { look: tool({ inputSchema: z.object({ where: z.string() }) }) },
    });
    const types: string[] = [];
    for await (const part of result.fullStream) types.push(part.type);
    expect(types).toEqual([
      "start",
      "start-step",
      "reasoning-start",
      "reasoning-delta",
      "reasoning-delta",
      "reasoning-end",
      "text-start",
      "text-delta",
      "text-delta",
      "text-end",
      "tool-input-start",
      "tool-input-delta",
      "tool-input-end",
      "tool-call",
      "finish-step",
      "finish",
    ]);
    expect(await result.text).toBe("我看看左边。");
    expect(await result.finishReason).toBe("tool-calls");
    expect(await result.toolCalls).toMatchObject([{ toolName: "look", input: { where: "左" } }]);
  });

  it("ends with an abort part when it is aborted, and the work behind it ends", async () => {
    const controller = new AbortController();
    let left = false;
    async function* endless() {
      try {
        for (;;) {
          yield { type: "text-delta" as const, text: "啊" };
          await new Promise((resolve) => setImmediate(resolve));
        }
      } finally {
        left = true;
      }
    }
    const model = new FakeVisionLanguageModel({ answer: () => endless() });
    const result = streamText({
      model: qwen3Vl(model),
      prompt: "?",
      abortSignal: controller.signal,
    });
    const types: string[] = [];
    for await (const part of result.fullStream) {
      types.push(part.type);
      if (types.length === 6) controller.abort();
    }
    expect(types.at(-1)).toBe("abort");
    await expect.poll(() => left).toBe(true);
  });
});

describe("what the SDK hands on", () => {
  const prompt = [{ role: "user" as const, content: [{ type: "text" as const, text: "?" }] }];
  const look = tool({ inputSchema: z.object({ where: z.string() }), execute: async () => "猫" });

  it("settings that it has no name for, and what it has no name for in an answer", async () => {
    const model = new FakeVisionLanguageModel();
    const napcatVlm = {
      minP: 0.1,
      maxReasoningTokens: 0,
      chat: "group:1",
      priority: 5,
      parallelToolCalls: false,
    };
    const call = { model: qwen3Vl(model), prompt: "?", providerOptions: { napcatVlm } };
    const whole = await generateText(call);
    expect(whole.warnings).toEqual([]);
    expect(model.requests[0]).toMatchObject(napcatVlm);
    const told = { imageTokens: 0, droppedTurns: 0, incomplete: false, reasoningCut: false };
    expect(whole.providerMetadata?.napcatVlm).toMatchObject(told);
    const streamed = streamText(call);
    expect((await streamed.providerMetadata)?.napcatVlm).toMatchObject(told);
    expect(whole.response.modelId).toBe(model.info.name);
    expect((await streamed.response).modelId).toBe(model.info.name);
  });

  it("every part as it came, where raw chunks are wanted", async () => {
    const model = new FakeVisionLanguageModel({ answer: "好" });
    const { fullStream } = streamText({
      model: qwen3Vl(model),
      prompt: "?",
      includeRawChunks: true,
    });
    const raw: unknown[] = [];
    for await (const part of fullStream) if (part.type === "raw") raw.push(part.rawValue);
    expect(raw).toMatchObject([{ type: "text-delta", text: "好" }, { type: "finish" }]);
  });

  it("any JSON, without a schema", async () => {
    const model = new FakeVisionLanguageModel({ answer: "{}" });
    await qwen3Vl(model).doGenerate({ prompt, responseFormat: { type: "json" } });
    expect(model.requests[0]?.responseFormat).toEqual({ type: "json" });
  });

  it("calls whose ids no other step has, so that a chat keeps them apart", async () => {
    const call = (where: string) => ({ toolCalls: [{ name: "look", arguments: { where } }] });
    const model = new FakeVisionLanguageModel({ answer: [call("左"), call("右"), "两只猫。"] });
    const result = streamText({
      model: qwen3Vl(model),
      prompt: "?",
      stopWhen: stepCountIs(5),
      tools: { look },
    });
    let message: UIMessage | undefined;
    for await (const whole of readUIMessageStream({ stream: result.toUIMessageStream() })) {
      message = whole;
    }
    const inputs = message?.parts.flatMap((part) => (part.type === "tool-look" ? [part] : []));
    expect(inputs).toMatchObject([{ input: { where: "左" } }, { input: { where: "右" } }]);
  });

  it("results in the order of their calls, however long each took", async () => {
    let first = () => {};
    const second = new Promise<void>((resolve) => {
      first = resolve;
    });
    const calls = ["左", "右"].map((where) => ({ name: "look", arguments: { where } }));
    const model = new FakeVisionLanguageModel({ answer: [{ toolCalls: calls }, "好"] });
    const result = streamText({
      model: qwen3Vl(model),
      prompt: "?",
      stopWhen: stepCountIs(2),
      tools: {
        look: tool({
          inputSchema: z.object({ where: z.string() }),
          execute: async ({ where }) => {
            if (where === "左") await second;
            else first();
            return `${where}边`;
          },
        }),
      },
    });
    expect(await result.text).toBe("好");
    const results = model.requests[1]?.messages.filter(({ role }) => role === "tool");
    expect(results?.map(({ content }) => content)).toEqual(["左边", "右边"]);
  });

  it.each(["https://example.com/a.png?key=CANARY", "file:///a.png"])(
    "pictures of tools, but no address: %s",
    async (url) => {
      const asked = (value: { readonly type: "image-url"; readonly url: string }) => {
        const model = new FakeVisionLanguageModel();
        const output = { type: "content" as const, value: [value] };
        const result = {
          type: "tool-result" as const,
          toolCallId: "a",
          toolName: "look",
          output,
        };
        const content = [
          { type: "tool-call" as const, toolCallId: "a", toolName: "look", input: {} },
        ];
        const answer = qwen3Vl(model).doGenerate({
          prompt: [...prompt, { role: "assistant", content }, { role: "tool", content: [result] }],
        });
        return answer.then(() => model.requests[0]?.messages.at(-1));
      };
      const data = `data:image/png;base64,${Buffer.from(PIXEL_PNG).toString("base64")}`;
      expect(await asked({ type: "image-url", url: data })).toEqual({
        role: "tool",
        content: [{ type: "image", data: Buffer.from(PIXEL_PNG) }],
      });
      const refused = asked({ type: "image-url", url });
      await expect(refused).rejects.toThrow("pass its bytes");
      await expect(refused).rejects.not.toThrow("CANARY");
    },
  );

  it("an error in the middle of an answer, as an error", async () => {
    const broken = new Error("broken");
    async function* breaking() {
      yield { type: "text-delta" as const, text: "好" };
      throw broken;
    }
    const model = new FakeVisionLanguageModel({ answer: () => breaking() as never });
    const errors: unknown[] = [];
    const { fullStream } = streamText({
      model: qwen3Vl(model),
      prompt: "?",
      onError: ({ error }) => void errors.push(error),
    });
    const types: string[] = [];
    for await (const part of fullStream) types.push(part.type);
    const inside = types.slice(types.indexOf("text-start"));
    expect(inside).toEqual([
      "text-start",
      "text-delta",
      "text-end",
      "error",
      "finish-step",
      "finish",
    ]);
    expect(errors).toEqual([broken]);
  });
});

describe("a model of the provider", () => {
  it("names itself, and downloads nothing", () => {
    const model = new FakeVisionLanguageModel({ info: { name: "Qwen3-VL-2B" } });
    expect(qwen3Vl(model)).toMatchObject({
      specificationVersion: "v3",
      provider: "napcat-vlm",
      modelId: "Qwen3-VL-2B",
      supportedUrls: {},
    });
    expect(qwen3Vl(model, { modelId: "eyes" }).modelId).toBe("eyes");
  });
});
