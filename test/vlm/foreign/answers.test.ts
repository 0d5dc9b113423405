// The tiny chat model through packages that another program made: the same public interface, the same loop, the same answers.

import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { loadQwen3Vl, type Qwen3VlModel } from "../../../src/vlm/qwen3-vl.ts";
import type { GenerateRequest, StreamPart } from "../../../src/vlm/vision-language-model.ts";
import { communityPackage } from "../../support/community-package.ts";
import { drawDigits, drawShapes } from "../../support/draw.ts";
import { mobiusPackage } from "../../support/mobius-package.ts";
import { tempDir } from "../../support/temp-dir.ts";
import { loadTinyChat, TINY_CHAT_DIR, userMessage } from "../../support/tiny-chat.ts";

let directory: string;
let model: Qwen3VlModel;
let redCircle: Buffer;
const warnings: string[] = [];

beforeAll(async () => {
  directory = await mobiusPackage("tiny-chat", await tempDir());
  model = await loadQwen3Vl({
    model: directory,
    maxConcurrent: 3,
    onWarning: (warning) => warnings.push(warning),
  });
  redCircle = await drawShapes([{ shape: "circle", color: "red" }]);
});
afterAll(() => model.dispose());

const ask = async (...parts: (string | Uint8Array)[]) =>
  (await model.generate({ messages: [userMessage(...parts)] })).text;

describe("a model that mobius exported", () => {
  it("says what it is", () => {
    expect(model.info).toMatchObject({ name: "mobius-tiny-chat", device: "cpu", thinking: false });
    expect(model.info.warnings).toBeUndefined();
    expect(warnings.filter((warning) => /deepstack/i.test(warning))).toEqual([]);
  });

  it("sees and reads, in Chinese and in English", async () => {
    expect(await ask(redCircle, "图里有什么？")).toBe("图里有一个红色的圆形。");
    expect(await ask(await drawDigits("42"), "图里写的数字是多少？")).toBe("42");
    const cross = await drawShapes([{ shape: "cross", color: "green" }]);
    expect(await ask(cross, redCircle, "分别是什么？")).toBe(
      "第一张是绿色的十字。第二张是红色的圆形。",
    );
  });

  it("goes on from what it has read and seen", async () => {
    const first = userMessage(redCircle, "图里有什么？");
    const { text } = await model.generate({ messages: [first] });
    const { text: color, cache } = await model.generate({
      messages: [first, { role: "assistant", content: text }, userMessage("它是什么颜色？")],
    });
    expect(color).toBe("红色。");
    expect(cache).toMatchObject({ visionMisses: 0 });
    expect(cache?.promptTokens).toBeGreaterThan(20);
  });

  it("goes on from another chat's beginning, whose slot is taken", async () => {
    const messages = [userMessage(redCircle, "图里有什么？")];
    await using fresh = await loadQwen3Vl({ model: directory, maxConcurrent: 1 });
    const { text } = await fresh.generate({ messages, chat: "a" });
    await fresh.generate({ messages: [userMessage("你好")], chat: "b" });
    const again = await fresh.generate({ messages, chat: "c" });
    expect(again.text).toBe(text);
    expect(again.cache?.promptTokens).toBeGreaterThan(20);
  });

  it("streams, stops at a stop text, and samples with a seed", async () => {
    const parts: StreamPart[] = [];
    const messages = [userMessage(redCircle, "图里有什么？")];
    for await (const part of model.stream({ messages })) parts.push(part);
    const texts = parts.flatMap((part) => (part.type === "text-delta" ? [part.text] : []));
    expect(texts.length).toBeGreaterThan(1);
    expect(texts.join("")).toBe("图里有一个红色的圆形。");
    const stopped = await model.generate({ messages, stop: ["红色"] });
    expect(stopped).toMatchObject({ text: "图里有一个", finishReason: "stop-string" });
    const sampled: GenerateRequest = {
      messages,
      temperature: 1.5,
      topP: 1,
      seed: 7,
      maxTokens: 12,
    };
    expect((await model.generate(sampled)).text).toBe((await model.generate(sampled)).text);
  });

  it("answers several chats at once, and more than it has room for", async () => {
    const cross = await drawShapes([{ shape: "cross", color: "green" }]);
    const questions = [
      [redCircle, "图里有什么？", "图里有一个红色的圆形。"],
      [cross, "图里有什么？", "图里有一个绿色的十字。"],
    ] as const;
    const answers = await Promise.all(
      Array.from({ length: 8 }, (_, i) => {
        const [picture, question] = questions[i % 2]!;
        return ask(picture, question);
      }),
    );
    expect(answers).toEqual(Array.from({ length: 8 }, (_, i) => questions[i % 2]![2]));
  });

  it("ends at once when it is told to, and answers the next one", async () => {
    const controller = new AbortController();
    const messages = [userMessage(redCircle, "图里有什么？")];
    const reading = (async () => {
      for await (const part of model.stream({ messages, signal: controller.signal })) {
        if (part.type === "text-delta") controller.abort(new Error("enough"));
      }
    })();
    await expect(reading).rejects.toThrow("enough");
    expect(await ask(redCircle, "图里有什么？")).toBe("图里有一个红色的圆形。");
  });

  it("decides, and keeps to a form", async () => {
    const { decisions } = await model.decide({
      messages: [userMessage(redCircle)],
      questions: [{ type: "choice", question: "什么颜色？", options: ["红色", "绿色"] }],
    });
    await using ours = await loadTinyChat();
    const expected = await ours.decide({
      messages: [userMessage(redCircle)],
      questions: [{ type: "choice", question: "什么颜色？", options: ["红色", "绿色"] }],
    });
    expect(decisions[0].option).toBe(expected.decisions[0].option);
    const { text } = await model.generate({
      messages: [userMessage(redCircle, "图里有什么？")],
      responseFormat: { type: "choice", options: ["一个圆", "一个方"] },
    });
    expect(["一个圆", "一个方"]).toContain(text);
  });

  it("takes device auto as the CPU, and says so", async () => {
    const told: string[] = [];
    await using chosen = await loadQwen3Vl({
      model: directory,
      device: "auto",
      onWarning: (warning) => told.push(warning),
    });
    expect(chosen.info.device).toBe("cpu");
    expect(told).toContain("The device is cpu: packages that other programs made run on no other.");
  });
});

describe("a model in the layout of onnx-community", () => {
  it("answers, and warns once and loudly that DeepStack is missing", async () => {
    const parent = await tempDir();
    const told: string[] = [];
    await using community = await loadQwen3Vl({
      model: await communityPackage(TINY_CHAT_DIR, join(parent)),
      onWarning: (warning) => told.push(warning),
    });
    const loud = told.filter((warning) => warning.startsWith("DEEPSTACK IS MISSING"));
    expect(loud).toHaveLength(1);
    expect(community.info.warnings).toEqual(loud);
    // Without what the decoder's first layers see, its answers are other ones; without pictures they are the same.
    const { text, finishReason } = await community.generate({
      messages: [userMessage(redCircle, "图里有什么？")],
    });
    expect([text.length > 0, finishReason]).toEqual([true, "stop"]);
    await using ours = await loadTinyChat();
    const messages = [userMessage("你好")];
    expect((await community.generate({ messages })).text).toBe(
      (await ours.generate({ messages })).text,
    );
    expect(told.filter((warning) => warning.startsWith("DEEPSTACK"))).toHaveLength(1);
  });
});
