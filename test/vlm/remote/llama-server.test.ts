// openAiVlm against a real server of others: what llama-server (Debian's llama.cpp-tools 0.7.0) answered, with the weights of the
// tiny chat model's text half, and of all of it where there are pictures. Recorded; to record again, see RECORD below.

import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, describe, expect, it } from "vitest";
import { loadQwen3Vl } from "../../../src/vlm/qwen3-vl.ts";
import { type OpenAiVlmOptions, openAiVlm } from "../../../src/vlm/remote/index.ts";
import { writeBmp } from "../../support/bmp.ts";
import { DECISIONS, decidingToy } from "../../support/deciding-toy.ts";
import { PIXEL_PNG } from "../../support/events.ts";
import { RecordedServer } from "../../support/recorded-server.ts";
import { loadTinyChat, userMessage } from "../../support/tiny-chat.ts";

/**
 * To record: llama-server with each of the models as GGUF (`chat`: the tiny chat model; `deciding`: the deciding toy; `tools`:
 * the tiny chat model with Qwen3-VL's own chat template; `eyes`: the tiny chat model with its vision encoder, both as the
 * writers of `bench/peers/gguf` make them, in F32; `caller`: one that was made to write `<tool_call>` and a call of `look` in
 * the places of its first two tokens, with a template that knows calls), its address in RECORD_CHAT, RECORD_DECIDING,
 * RECORD_TOOLS, RECORD_EYES or RECORD_CALLER, its name and version in RECORD_NAME.
 */
type Model = "chat" | "deciding" | "tools" | "eyes" | "caller";
const LIVE: Readonly<Record<Model, string | undefined>> = {
  chat: process.env.RECORD_CHAT,
  deciding: process.env.RECORD_DECIDING,
  tools: process.env.RECORD_TOOLS,
  eyes: process.env.RECORD_EYES,
  caller: process.env.RECORD_CALLER,
};

const closing: (() => Promise<void>)[] = [];
afterEach(async () => {
  for (const close of closing.splice(0).reverse()) await close();
});

async function setUp(model: Model, name: string, options: Partial<OpenAiVlmOptions> = {}) {
  const file = new URL(`./llama-server/${name}.json`, import.meta.url);
  const server = new RecordedServer(file, LIVE[model]);
  const baseURL = await server.listen();
  closing.push(() => server.close());
  const there = openAiVlm({ baseURL, retries: 0, model, ...options });
  closing.push(() => there.dispose());
  return there;
}

const messages = [userMessage("你好")];

/** A picture of one colour, whose bytes are the same everywhere. */
function square(red: number, green: number, blue: number): Buffer {
  const pixels = Array.from({ length: 64 * 64 }, () => [blue, green, red]).flat();
  return writeBmp({ width: 64, height: 64, bitsPerPixel: 24, pixels });
}
const greedy = { messages, temperature: 0, maxTokens: 20 };

describe("llama-server", () => {
  it("streams the answer that the model in this process gives", async () => {
    const there = await setUp("chat", "answer");
    const here = await loadTinyChat();
    const direct = await here.generate(greedy);
    await here.dispose();
    const remote = await there.generate(greedy);
    expect(remote.text).toBe(direct.text);
    expect(remote.finishReason).toBe("stop");
    const { promptTokens } = direct.usage;
    expect(remote.usage).toMatchObject({ promptTokens, completionTokens: 5 });
  });

  it("ends at maxTokens and at a stop string, and takes every setting", async () => {
    const there = await setUp("chat", "settings");
    const cut = await there.generate({ ...greedy, maxTokens: 2 });
    expect(cut).toMatchObject({ finishReason: "max-tokens", text: "你好！发一张图给我" });
    const stopped = await there.generate({
      ...greedy,
      stop: "给我",
      topP: 0.9,
      topK: 5,
      minP: 0.01,
      seed: 7,
      repetitionPenalty: 1.01,
      presencePenalty: 0.1,
      maxReasoningTokens: 0,
    });
    expect(stopped.text).toBe("你好！发一张图");
  });

  it("says what it serves and how much it reads at once", async () => {
    const there = await setUp("chat", "models");
    expect(await there.ping()).toEqual({ up: true, models: ["chat"] });
    expect(there.info.contextTokens).toBe(2048);
  });

  it("sees pictures as the model in this process does, DeepStack and all", async () => {
    const there = await setUp("eyes", "seen");
    const here = await loadTinyChat();
    const pictures = { 红色: square(220, 30, 30), 绿色: square(30, 160, 60) };
    for (const [colour, picture] of Object.entries(pictures)) {
      const looked = { ...greedy, messages: [userMessage(picture, "图里有什么？")] };
      const direct = await here.generate(looked);
      expect(direct.text).toContain(colour);
      expect((await there.generate(looked)).text).toBe(direct.text);
    }
    await here.dispose();
  });

  it("refuses a picture without eyes: at once, and by our name for it", async () => {
    const there = await setUp("chat", "picture", { retries: 2 });
    const asked = there.generate({ ...greedy, messages: [userMessage(PIXEL_PNG, "?")] });
    await expect(asked).rejects.toMatchObject({
      code: "remote-refused",
      message: expect.stringContaining("image input is not supported"),
    });
  });

  it("says when a prompt is too long, with both numbers", async () => {
    const there = await setUp("chat", "too-long");
    const asked = there.generate({ ...greedy, messages: [userMessage("长".repeat(1000))] });
    await expect(asked).rejects.toMatchObject({ code: "prompt-too-long", maxPromptTokens: 2048 });
  });

  it("keeps a schema, and passes over a regular expression: the answer says so", async () => {
    const there = await setUp("deciding", "forms");
    const schema = { type: "object", properties: { n: { enum: [1, 2] } }, required: ["n"] };
    const kept = await there.generate({ ...greedy, responseFormat: { type: "json", schema } });
    expect(JSON.parse(kept.text)).toMatchObject({ n: expect.any(Number) });
    const pattern = "[a-z]{3}";
    const missed = await there.generate({ ...greedy, responseFormat: { type: "regex", pattern } });
    expect(missed.incomplete).toBe(true);
  });

  it("takes tools; text in the place of a call that had to be made stays text", async () => {
    const there = await setUp("tools", "tools");
    const parameters = { type: "object", properties: { where: { enum: ["here"] } } };
    const tools = [{ type: "function", function: { name: "look", parameters } }];
    const asked = { ...greedy, tools, toolChoice: "required" as const };
    const { text, toolCalls, finishReason } = await there.generate(asked);
    expect({ toolCalls, finishReason }).toEqual({ toolCalls: [], finishReason: "max-tokens" });
    expect(text).toMatch(/^我只会看图/u);
  });

  it("calls a tool, and is told what came of it", async () => {
    const there = await setUp("caller", "call");
    const parameters = { type: "object", properties: { where: { enum: ["here"] } } };
    const tools = [{ type: "function", function: { name: "look", parameters } }];
    const called = await there.generate({ ...greedy, tools });
    expect(called).toMatchObject({ text: "", finishReason: "tool-calls" });
    const [call] = called.toolCalls;
    expect(call).toMatchObject({ type: "tool-call", name: "look" });
    expect(JSON.parse(call!.arguments)).toEqual({ where: "here" });
    const told = await there.generate({
      ...greedy,
      tools,
      messages: [
        ...messages,
        { role: "assistant", content: "", toolCalls: [call!] },
        { role: "tool", content: "一只猫" },
      ],
    });
    expect(told.usage.promptTokens).toBeGreaterThan(called.usage.promptTokens);
  });

  it("goes on from the beginning of an answer", async () => {
    const there = await setUp("chat", "beginning");
    const begun = { role: "assistant", content: "你好！" } as const;
    const request = { ...greedy, messages: [...messages, begun], continueAnswer: true };
    const here = await loadTinyChat();
    const direct = await here.generate(request);
    await here.dispose();
    const remote = await there.generate(request);
    expect(remote.text).toBe(direct.text);
    expect(remote.text).not.toContain("你好");
  });

  it("decides as the same weights do in this process", async () => {
    const there = await setUp("deciding", "decide");
    const directory = await mkdtemp(join(tmpdir(), "napcat-vlm-toy-"));
    const checkpoint = await decidingToy(join(directory, "model"));
    const here = await loadQwen3Vl({ model: checkpoint, precision: "fp32", onWarning: () => {} });
    const direct = await here.decide({ messages, questions: DECISIONS });
    await here.dispose();
    await rm(directory, { recursive: true, force: true });
    const remote = await there.decide({ messages, questions: DECISIONS });
    const [yes, choice, number] = direct.decisions;
    expect(remote.decisions).toMatchObject([
      { yes: yes.yes },
      { option: choice.option },
      { value: number.value },
    ]);
    expect(remote.decisions[0].probability).toBeCloseTo(yes.probability, 2);
    for (const [index, probability] of choice.probabilities.entries()) {
      expect(remote.decisions[1].probabilities[index]).toBeCloseTo(probability, 2);
    }
  });
});
