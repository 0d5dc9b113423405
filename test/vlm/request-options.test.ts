import { describe, expect, it } from "vitest";
import type { GenerationDefaults } from "../../src/vlm/checkpoint/generation-config.ts";
import { resolveRequest } from "../../src/vlm/request-options.ts";
import type { GenerateRequest } from "../../src/vlm/vision-language-model.ts";

const DEFAULTS: GenerationDefaults = {
  doSample: true,
  temperature: 0.7,
  topP: 0.8,
  topK: 20,
  minP: 0.05,
  repetitionPenalty: 1.1,
  eosTokenIds: [1],
};

const sampling = (request: Partial<GenerateRequest>, defaults: Partial<GenerationDefaults> = {}) =>
  resolveRequest(
    { messages: [{ role: "user", content: "?" }], ...request },
    { ...DEFAULTS, ...defaults },
  ).sampling;

describe("the sampling of a request", () => {
  it("is the checkpoint's where the request says nothing, without presence penalty", () => {
    const { doSample: _, eosTokenIds: __, ...expected } = DEFAULTS;
    expect(sampling({})).toEqual({
      ...expected,
      presencePenalty: 0,
      frequencyPenalty: 0,
      seed: expect.any(Number),
    });
  });

  it("is the request's where it says something, zeros included", () => {
    const wanted = {
      temperature: 0,
      topP: 0.5,
      topK: 0,
      minP: 0,
      repetitionPenalty: 1,
      presencePenalty: -1.5,
      frequencyPenalty: 0.5,
      seed: 0,
    };
    expect(sampling(wanted)).toEqual(wanted);
  });

  it("is greedy for a checkpoint that does not sample, unless asked for more", () => {
    expect(sampling({}, { doSample: false }).temperature).toBe(0);
    expect(sampling({ temperature: 0.4 }, { doSample: false }).temperature).toBe(0.4);
  });

  it("has a seed of its own in each request that names none", () => {
    const seeds = Array.from({ length: 5 }, () => sampling({}).seed);
    expect(new Set(seeds).size).toBe(5);
    for (const seed of seeds) expect(seed).toSatisfy(Number.isSafeInteger);
  });
});

describe("the messages of a request", () => {
  const request = (assistant: object) => () =>
    resolveRequest(
      {
        messages: [
          { role: "user", content: "?" },
          { role: "assistant", content: "!", ...assistant },
          { role: "user", content: "?" },
        ],
      },
      DEFAULTS,
    );

  it("may hold thoughts and calls of tools", () => {
    const toolCalls = [
      { name: "f", arguments: "{}" },
      { name: "g", arguments: { a: 1 } },
    ];
    expect(request({ reasoning: "…", toolCalls })).not.toThrow();
    expect(request({ reasoning: undefined, toolCalls: undefined })).not.toThrow();
  });

  it.each([
    [{ reasoning: 5 }, "Expected `messages[1].reasoning` to be a string, got `5` (number)"],
    [{ toolCalls: {} }, "Expected `messages[1].toolCalls` to be an array, got an object"],
    [{ toolCalls: ["f"] }, "Expected `messages[1].toolCalls[0]` to be a call of a tool"],
    [{ toolCalls: [{}] }, "Expected `messages[1].toolCalls[0].name` to be a non-empty string"],
    [
      { toolCalls: [{ name: "f" }] },
      "Expected `messages[1].toolCalls[0].arguments` to be a string or an object, got `undefined`",
    ],
  ])("refuse %j before anything is computed", (assistant, message) => {
    expect(request(assistant)).toThrow(message);
    expect(request(assistant)).toThrow(TypeError);
  });

  it("says that a tool may answer with parts", () => {
    const messages = [{ role: "tool" as const, content: 5 as never }];
    expect(() => resolveRequest({ messages }, DEFAULTS)).toThrow(
      "Expected `messages[0].content` to be a string or an array of parts, got `5` (number)",
    );
  });

  it("refuses a tool that is no object", () => {
    const tools = [5 as never];
    expect(() =>
      resolveRequest({ messages: [{ role: "user", content: "?" }], tools }, DEFAULTS),
    ).toThrow("Expected `tools[0]` to be an object, got `5` (number)");
  });
});
