// Sampling from the highest logits alone must choose exactly what sampling from all of them would.

import { describe, expect, it } from "vitest";
import { allow, allows, type TokenMask } from "../../../src/vlm/constrain/local-mask.ts";
import type { TopScores } from "../../../src/vlm/engine/decoder-backend.ts";
import { Sampler } from "../../../src/vlm/engine/sampler.ts";
import type { SamplingOptions } from "../../../src/vlm/vision-language-model.ts";

const VOCABULARY = 500;
const KNOWN = 64;

const usual: Required<SamplingOptions> = {
  temperature: 0.7,
  topP: 0.8,
  topK: 20,
  minP: 0,
  repetitionPenalty: 1,
  presencePenalty: 0,
  frequencyPenalty: 0,
  seed: 7,
};

/** Logits that look like a model's, other ones for each step. */
function logitsOf(step: number): Float32Array {
  return Float32Array.from(
    { length: VOCABULARY },
    (_, id) => 8 * Math.sin(id * 12.9898 + step) ** 5,
  );
}

function topOf(logits: Float32Array): TopScores {
  const ids = [...logits.keys()].sort((a, b) => logits[b]! - logits[a]! || a - b).slice(0, KNOWN);
  return {
    ids,
    scores: Float32Array.from(ids, (id) => logits[id]!),
    full: async () => logits,
  };
}

function compare(
  sampling: Required<SamplingOptions>,
  vocabSize = VOCABULARY,
  mask?: TokenMask,
): number {
  const prompt = [1, 2, 3, 50, 51];
  const [all, top] = [
    new Sampler(sampling, vocabSize, prompt),
    new Sampler(sampling, vocabSize, prompt),
  ];
  let sufficed = 0;
  for (let step = 0; step < 60; step++) {
    const logits = logitsOf(step);
    const expected = all.sample(logits, mask);
    const found = top.sampleTop(topOf(logits), mask);
    if (found !== undefined) {
      expect(found).toBe(expected);
      sufficed++;
    } else {
      expect(top.sample(logits, mask)).toBe(expected);
    }
    if (mask) expect(allows(mask, expected)).toBe(true);
    all.accept(expected);
    top.accept(expected);
  }
  return sufficed;
}

describe("sampling from the highest logits", () => {
  it.each([
    ["greedily", { temperature: 0 }],
    ["with top-k and top-p", {}],
    ["with min-p", { minP: 0.1 }],
    ["with a presence penalty", { presencePenalty: 1.5 }],
    ["with a frequency penalty", { frequencyPenalty: 0.7 }],
    ["with a repetition penalty", { repetitionPenalty: 1.2 }],
    ["greedily with penalties", { temperature: 0, presencePenalty: 2, repetitionPenalty: 1.1 }],
  ])("chooses %s what all of them would give", (_, options) => {
    expect(compare({ ...usual, ...options })).toBeGreaterThan(30);
  });

  it("leaves out ids that are no tokens", () => {
    expect(compare(usual, 480)).toBeGreaterThan(30);
  });

  it.each([
    ["a cut by probability alone", { topK: 0 }],
    ["penalties that lift scores", { presencePenalty: -1 }],
    ["penalties that lift scores each time", { frequencyPenalty: -1 }],
    ["as many candidates as are known", { topK: KNOWN }],
  ])("asks for all of them for %s", (_, options) => {
    expect(compare({ ...usual, ...options })).toBe(0);
  });

  it("asks for all of them when penalties reach below the lowest that is known", () => {
    const sampler = new Sampler({ ...usual, presencePenalty: 100 }, VOCABULARY, []);
    const logits = logitsOf(0);
    const top = topOf(logits);
    for (const id of top.ids) sampler.accept(id);
    expect(sampler.sampleTop(top)).toBeUndefined();
  });

  it("chooses among the tokens of a mask as from the logits of these alone", () => {
    const many = new Uint32Array(Math.ceil(VOCABULARY / 32)).fill(0xffff_fffe);
    const few = new Uint32Array(many.length);
    for (const id of [3, 31, 32, 77, 499]) allow(few, id);
    for (const sampling of [
      usual,
      { ...usual, temperature: 0 },
      { ...usual, topK: 0 },
      { ...usual, topK: 0, topP: 1 },
      { ...usual, topK: 3, topP: 1, minP: 0.1 },
      { ...usual, repetitionPenalty: 1.2, presencePenalty: 0.5 },
    ]) {
      compare(sampling, VOCABULARY, many);
      expect(compare(sampling, VOCABULARY, few)).toBeLessThan(60);
      // The same as if all others were impossible.
      const [masked, reduced] = [new Sampler(sampling, 500, []), new Sampler(sampling, 500, [])];
      for (let step = 0; step < 20; step++) {
        const logits = logitsOf(step);
        const only = logits.map((score, id) => (allows(few, id) ? score : -Infinity));
        expect(masked.sample(logits, few)).toBe(reduced.sample(only));
      }
    }
    expect(compare({ ...usual, temperature: 0 }, VOCABULARY, many)).toBe(60);
  });
});
