import { describe, expect, it } from "vitest";
import type { GenerationDefaults } from "../../src/vlm/checkpoint/generation-config.ts";
import { resolveRequest } from "../../src/vlm/options.ts";
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
    expect(sampling({})).toEqual({ ...expected, presencePenalty: 0, seed: expect.any(Number) });
  });

  it("is the request's where it says something, zeros included", () => {
    const wanted = {
      temperature: 0,
      topP: 0.5,
      topK: 0,
      minP: 0,
      repetitionPenalty: 1,
      presencePenalty: -1.5,
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
