// How likely each token of an answer was, and answers that go on from a beginning: the tiny chat model.

import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { loadQwen3Vl, type Qwen3VlModel } from "../../src/vlm/qwen3-vl.ts";
import type { ChosenToken, GenerateRequest } from "../../src/vlm/vision-language-model.ts";
import { opensThoughts, tinyChatWithHead } from "../support/own-head.ts";
import { loadTinyChat, userMessage } from "../support/tiny-chat.ts";

const messages = [userMessage("你好")];
const greedy = { messages, temperature: 0, maxTokens: 30 };
const textOf = (tokens: readonly ChosenToken[] = []) =>
  Buffer.concat(tokens.map(({ bytes }) => bytes)).toString("utf8");

let model: Qwen3VlModel;
let thinking: Qwen3VlModel;
let directory: string;
beforeAll(async () => {
  model = await loadTinyChat();
  directory = await mkdtemp(join(tmpdir(), "napcat-vlm-logprobs-"));
  const checkpoint = await tinyChatWithHead(join(directory, "model"), () => {});
  await opensThoughts(checkpoint);
  thinking = await loadQwen3Vl({ model: checkpoint, precision: "fp32", onWarning: () => {} });
});
afterAll(async () => {
  await model.dispose();
  await thinking.dispose();
  await rm(directory, { recursive: true, force: true });
});

describe("topLogprobs", () => {
  it("tells of every token how likely it was, and of the likeliest in its place", async () => {
    const { text, logprobs = [], usage } = await model.generate({ ...greedy, topLogprobs: 3 });
    expect(textOf(logprobs)).toBe(text);
    // The end is a token that was chosen and is none of the answer.
    expect(logprobs).toHaveLength(usage.completionTokens + 1);
    expect(logprobs.at(-1)).toMatchObject({ end: true, text: "<|im_end|>" });
    for (const { likeliest, ...token } of logprobs) {
      expect(likeliest[0]).toEqual(token);
      const falling = likeliest.map(({ logprob }) => logprob);
      expect(falling).toEqual(falling.toSorted((a, b) => b - a));
      expect(falling.reduce((sum, logprob) => sum + Math.exp(logprob), 0)).toBeLessThan(1.000001);
    }
  });

  it("is of the scores as they were, whatever was taken out of them", async () => {
    const responseFormat = { type: "choice", options: ["红色", "蓝色"] } as const;
    const free = await model.generate({ ...greedy, maxTokens: 1, topLogprobs: 2 });
    const formed = await model.generate({ ...greedy, responseFormat, topLogprobs: 2 });
    expect(textOf(formed.logprobs)).toBe(formed.text);
    expect(formed.logprobs?.[0]?.likeliest[0]?.text).toBe(free.text);
    expect(formed.logprobs?.[0]?.logprob).toBeLessThan(-5);
  });

  it("names no others with 0, and is not there unless asked for", async () => {
    const { logprobs = [] } = await model.generate({ ...greedy, topLogprobs: 0 });
    expect(logprobs[0]).toMatchObject({ text: "你好", likeliest: [] });
    expect(await model.generate(greedy)).not.toHaveProperty("logprobs");
    await expect(model.generate({ ...greedy, topLogprobs: 21 })).rejects.toThrow(/topLogprobs/u);
  });

  it("leaves out thoughts, and what was written for the model", async () => {
    const request = { ...greedy, maxReasoningTokens: 1, topLogprobs: 1 };
    const { text, reasoning, logprobs } = await thinking.generate(request);
    expect(reasoning).not.toBe("");
    expect(text).not.toBe("");
    expect(textOf(logprobs)).toBe(text);
  });
});

describe("continueAnswer", () => {
  const goesOn = (content: string, more: Partial<GenerateRequest> = {}): GenerateRequest => ({
    ...greedy,
    messages: [...messages, { role: "assistant", content }],
    continueAnswer: true,
    ...more,
  });

  it("goes on where the beginning ends: the same words, the rest of them", async () => {
    const { text } = await model.generate(greedy);
    const beginning = "你好！发一张图给我";
    expect(text.startsWith(beginning)).toBe(true);
    const rest = await model.generate(goesOn(beginning));
    expect(beginning + rest.text).toBe(text);
    expect(rest.cache.promptTokens).toBeGreaterThan(0);
  });

  it("keeps the form of what follows", async () => {
    const responseFormat = { type: "regex", pattern: "\\d, \\d\\]" } as const;
    const { text } = await model.generate(goesOn("[", { responseFormat }));
    expect(text).toMatch(/^\d, \d\]$/u);
  });

  it("closes the thought of a Thinking model, with or without a beginning", async () => {
    const begun = await thinking.generate(goesOn("你好"));
    expect(begun).toMatchObject({ reasoning: "" });
    expect(begun.text).not.toBe("");
    const word = await thinking.generate({ ...greedy, maxReasoningTokens: 0, maxTokens: 1 });
    expect(word).toMatchObject({ reasoning: "", usage: { completionTokens: 1 } });
    expect(word.text).not.toBe("");
  });

  it.each([
    [{ ...greedy, continueAnswer: true }, /ends with an assistant message/u],
    [goesOn("好", { continueAnswer: false }), /ends with a user or tool message/u],
    [
      goesOn("好", { tools: [{ name: "look", parameters: {} }], toolChoice: "required" }),
      /continueAnswer/u,
    ],
  ])("says what is wrong (%#)", async (request, message) => {
    await expect(model.generate(request as GenerateRequest)).rejects.toThrow(message);
  });
});
