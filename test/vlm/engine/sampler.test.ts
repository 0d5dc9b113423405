import { describe, expect, it } from "vitest";
import { Sampler } from "../../../src/vlm/engine/sampler.ts";
import type { SamplingOptions } from "../../../src/vlm/vision-language-model.ts";
import { readGolden } from "../text/golden-chats.ts";

type Stage = readonly (number | null)[];

const golden = readGolden<{
  logits: number[];
  input_ids: number[];
  "after_rep_1.1": Stage;
  "after_temp_0.7": Stage;
  after_topk_8: Stage;
  "after_topp_0.8": Stage;
  "after_minp_0.1": Stage;
  final_probs: number[];
}>("sampling.json");

/** Everything off: the distribution of the model itself. */
const PLAIN: Required<SamplingOptions> = {
  temperature: 1,
  topP: 1,
  topK: 0,
  minP: 0,
  repetitionPenalty: 1,
  presencePenalty: 0,
  frequencyPenalty: 0,
  seed: 1,
};

const sampler = (
  options: SamplingOptions,
  vocabSize: number,
  promptIds: readonly number[] = [],
): Sampler => new Sampler({ ...PLAIN, ...options }, vocabSize, promptIds);

const distributionOf = (
  logits: readonly number[],
  options: SamplingOptions,
  promptIds?: readonly number[],
): Map<number, number> =>
  new Map(sampler(options, logits.length, promptIds).distribution(Float32Array.from(logits)));

/** Ids that are left, rising. */
const left = (logits: readonly number[], options: SamplingOptions): number[] => [
  ...distributionOf(logits, options).keys(),
];

const logs = (probabilities: readonly number[]): number[] => probabilities.map(Math.log);

function softmax(stage: Stage): Map<number, number> {
  const scores = stage.flatMap((score, id) => (score === null ? [] : [[id, score] as const]));
  const total = scores.reduce((sum, [, score]) => sum + Math.exp(score), 0);
  return new Map(scores.map(([id, score]) => [id, Math.exp(score) / total]));
}

function expectClose(
  actual: ReadonlyMap<number, number>,
  wanted: ReadonlyMap<number, number>,
): void {
  expect([...actual.keys()]).toEqual([...wanted.keys()]);
  for (const [id, probability] of wanted) expect(actual.get(id)).toBeCloseTo(probability, 7);
}

describe("Sampler", () => {
  const { logits, input_ids } = golden;
  const rep = { repetitionPenalty: 1.1 };
  const temp = { ...rep, temperature: 0.7 };
  const topK = { ...temp, topK: 8 };
  const topP = { ...topK, topP: 0.8 };

  it.each<[string, SamplingOptions, Stage]>([
    ["repetition penalty", rep, golden["after_rep_1.1"]],
    ["temperature", temp, golden["after_temp_0.7"]],
    ["top-k", topK, golden.after_topk_8],
    ["top-p", topP, golden["after_topp_0.8"]],
    ["min-p", { ...topP, minP: 0.1 }, golden["after_minp_0.1"]],
  ])("equals the reference after %s", (_, options, stage) => {
    expectClose(distributionOf(logits, options, input_ids), softmax(stage));
  });

  it("ends with the probabilities of the reference", () => {
    const final = distributionOf(logits, { ...topP, minP: 0.1 }, input_ids);
    for (const [id, probability] of golden.final_probs.entries()) {
      expect(final.get(id) ?? 0).toBeCloseTo(probability, 6);
    }
  });

  describe("greedy", () => {
    it.each([0, 1e-9])("takes the first of equal best at temperature %d", (temperature) => {
      const greedy = sampler({ temperature, topK: 1 }, 4);
      expect(greedy.sample(Float32Array.of(1, 3, 3, 2))).toBe(1);
      expect([...greedy.distribution(Float32Array.of(1, 3, 3, 2))]).toEqual([[1, 1]]);
    });

    it("applies penalties all the same", () => {
      const scores = Float32Array.of(2, 1.9, -1);
      expect(sampler({ temperature: 0, repetitionPenalty: 2 }, 3, [0]).sample(scores)).toBe(1);
      const greedy = sampler({ temperature: 0, presencePenalty: 0.5 }, 3, [0]);
      expect(greedy.sample(scores)).toBe(0);
      greedy.accept(0);
      expect(greedy.sample(scores)).toBe(1);
    });
  });

  describe("repetition penalty", () => {
    const ratio = (distribution: ReadonlyMap<number, number>, id: number): number =>
      Math.log(distribution.get(id)! / distribution.get(0)!);

    it("counts every id of prompt and answer once, and moves negative logits down", () => {
      const penalised = sampler({ repetitionPenalty: 2 }, 4, [1, 1, 3]);
      penalised.accept(2);
      penalised.accept(2);
      const distribution = penalised.distribution(Float32Array.of(0, 1, 2, -1));
      expect(ratio(distribution, 1)).toBeCloseTo(0.5, 6);
      expect(ratio(distribution, 2)).toBeCloseTo(1, 6);
      expect(ratio(distribution, 3)).toBeCloseTo(-2, 6);
    });

    it("ignores ids that the logits have no row for", () => {
      const penalised = sampler({ repetitionPenalty: 2 }, 2, [7]);
      expect(penalised.distribution(Float32Array.of(0, 0)).get(1)).toBeCloseTo(0.5, 9);
    });

    it("leaves the logits as they are", () => {
      const scores = Float32Array.of(1, 2);
      sampler({ repetitionPenalty: 2, presencePenalty: 1 }, 2, [0, 1]).sample(scores);
      expect([...scores]).toEqual([1, 2]);
    });
  });

  describe("presence penalty", () => {
    it("counts each id of the answer once, none of the prompt, before the temperature", () => {
      const penalised = sampler({ presencePenalty: 1.5, temperature: 0.5 }, 3, [1]);
      penalised.accept(2);
      penalised.accept(2);
      const distribution = penalised.distribution(Float32Array.of(0, 0, 0));
      expect(distribution.get(1)).toBeCloseTo(distribution.get(0)!, 9);
      expect(Math.log(distribution.get(2)! / distribution.get(0)!)).toBeCloseTo(-3, 6);
    });

    it("comes after the repetition penalty, and not to the prompt", () => {
      const penalised = sampler({ presencePenalty: 1, repetitionPenalty: 2 }, 2, [0]);
      penalised.accept(1);
      const distribution = penalised.distribution(Float32Array.of(0, 4));
      expect(Math.log(distribution.get(1)! / distribution.get(0)!)).toBeCloseTo(1, 6);
    });
  });

  describe("frequency penalty", () => {
    it("counts an id of the answer as often as it came, none of the prompt, beside the presence penalty", () => {
      const penalised = sampler({ frequencyPenalty: 0.5, presencePenalty: 1 }, 4, [1, 1]);
      for (const id of [2, 3, 2, 2]) penalised.accept(id);
      const distribution = penalised.distribution(Float32Array.of(0, 0, 0, 0));
      const ratio = (id: number) => Math.log(distribution.get(id)! / distribution.get(0)!);
      expect(ratio(1)).toBeCloseTo(0, 9);
      expect(ratio(2)).toBeCloseTo(-2.5, 6);
      expect(ratio(3)).toBeCloseTo(-1.5, 6);
    });

    it("decides what is greedily taken, and lifts what came where it is negative", () => {
      const greedy = sampler({ temperature: 0, frequencyPenalty: 0.4 }, 2);
      const scores = Float32Array.of(2, 1.5);
      greedy.accept(0);
      expect(greedy.sample(scores)).toBe(0);
      greedy.accept(0);
      expect(greedy.sample(scores)).toBe(1);
      const lifted = sampler({ temperature: 0, frequencyPenalty: -0.4 }, 2);
      for (const id of [1, 1]) lifted.accept(id);
      expect(lifted.sample(scores)).toBe(1);
    });
  });

  describe("top-k", () => {
    it("keeps ties with the last", () => {
      expect(left([3, 2, 2, 2, 1], { topK: 2 })).toEqual([0, 1, 2, 3]);
    });

    it("finds the ties that dividing by the temperature makes, and no others", () => {
      const close = [Math.fround(16777215), Math.fround(16777214), 1];
      const scaled = close.map((score) => Math.fround(score / Math.fround(1.9)));
      expect(scaled[0]).toBe(scaled[1]);
      expect(left(close, { topK: 1, temperature: 1.9 })).toEqual([0, 1]);
      expect(left(close, { topK: 1, temperature: 1 })).toEqual([0]);
    });

    it.each([0, 5, 6, 1000])("keeps all for k = %d of 5", (k) => {
      expect(left([3, 2, 2, 2, 1], { topK: k })).toEqual([0, 1, 2, 3, 4]);
    });

    it("finds the k best wherever they are", () => {
      const many = Array.from({ length: 5000 }, (_, id) => Math.sin(id * 7.7) * 9 - 5);
      for (const k of [1, 2, 3, 20, 257, 1000]) {
        const best = many
          .map((score, id) => ({ score: Math.fround(score), id }))
          .sort((a, b) => b.score - a.score)
          .slice(0, k);
        expect(left(many, { topK: k, temperature: 0.7 })).toEqual(
          best.map(({ id }) => id).sort((a, b) => a - b),
        );
      }
    });
  });

  describe("top-p", () => {
    it("keeps two of .5 .3 .2 at exactly .8", () => {
      expect(left(logs([0.5, 0.3, 0.2]), { topP: 0.8 })).toEqual([0, 1]);
      expect(left(logs([0.2, 0.5, 0.3]), { topP: 0.8, topK: 3 })).toEqual([1, 2]);
    });

    it("keeps what passes the sum, and at least the best", () => {
      expect(left(logs([0.5, 0.3, 0.2]), { topP: 0.81 })).toEqual([0, 1, 2]);
      expect(left(logs([0.5, 0.3, 0.2]), { topP: 0.79 })).toEqual([0, 1]);
      expect(left(logs([0.5, 0.3, 0.2]), { topP: 0.1 })).toEqual([0]);
      expect(left(logs([0.5, 0.3, 0.2]), { topP: 1e-9, topK: 3 })).toEqual([0]);
    });

    it("sums what top-k left, not the whole vocabulary", () => {
      // Of all: .4 .3 (.7) .2 (.9). Of the best two: .571 .429.
      expect(left(logs([0.4, 0.3, 0.2, 0.1]), { topP: 0.55, topK: 2 })).toEqual([0]);
      expect(left(logs([0.4, 0.3, 0.2, 0.1]), { topP: 0.55 })).toEqual([0, 1]);
    });

    it("is the same with and without a top-k that cuts nothing", () => {
      for (const spread of [0.1, 1, 6]) {
        const many = Array.from(
          { length: 3000 },
          (_, id) => Math.sin(id * 3.1) * spread + id * 1e-5,
        );
        for (const p of [0.05, 0.5, 0.95, 0.999]) {
          const whole = left(many, { topP: p, topK: 3000 });
          expect(left(many, { topP: p })).toEqual(whole);
        }
      }
    });

    it("keeps of equals only as many as it needs", () => {
      expect(left([0, 0, 0, 0], { topP: 0.5 })).toEqual([0, 1]);
    });
  });

  describe("min-p", () => {
    it("keeps tokens at least so likely as a share of the best", () => {
      const scores = logs([0.5, 0.25, 0.2, 0.05]);
      expect(left(scores, { minP: 0.5 })).toEqual([0, 1]);
      expect(left(scores, { minP: 0.09 })).toEqual([0, 1, 2, 3]);
      expect(left(scores, { minP: 0.11 })).toEqual([0, 1, 2]);
      expect(left(scores, { minP: 1 })).toEqual([0]);
    });

    it("comes after top-p", () => {
      // Min-p first would make .5 .25 of .5 .25 .2 .05 two thirds and one third, and top-p .6 would keep one.
      expect(left(logs([0.5, 0.25, 0.2, 0.05]), { minP: 0.5, topP: 0.6 })).toEqual([0, 1]);
    });
  });

  describe("draws", () => {
    const scores = Float32Array.from(logs([0.4, 0.3, 0.2, 0.1]));
    const draw = (options: SamplingOptions, count: number): number[] => {
      const drawing = sampler(options, 4);
      return Array.from({ length: count }, () => drawing.sample(scores));
    };

    it("repeat themselves for one seed and differ for another", () => {
      expect(draw({ seed: 5 }, 50)).toEqual(draw({ seed: 5 }, 50));
      expect(draw({ seed: 5 }, 50)).not.toEqual(draw({ seed: 6 }, 50));
    });

    it.each<[string, SamplingOptions, number[]]>([
      ["alone", {}, [0.4, 0.3, 0.2, 0.1]],
      ["after top-k", { topK: 2 }, [4 / 7, 3 / 7, 0, 0]],
      ["after top-p", { topP: 0.85 }, [4 / 9, 3 / 9, 2 / 9, 0]],
      ["at temperature 0.5", { temperature: 0.5 }, [16 / 30, 9 / 30, 4 / 30, 1 / 30]],
    ])("follow the distribution %s", (_, options, wanted) => {
      const count = 20_000;
      const counts = [0, 0, 0, 0];
      for (const id of draw({ ...options, seed: 11 }, count)) counts[id]!++;
      const possible = wanted.flatMap((probability, id) => (probability > 0 ? [id] : []));
      expect(counts.flatMap((n, id) => (n > 0 ? [id] : []))).toEqual(possible);
      const chiSquare = possible.reduce(
        (sum, id) => sum + (counts[id]! - count * wanted[id]!) ** 2 / (count * wanted[id]!),
        0,
      );
      // 3 degrees of freedom at most: 16.3 is passed once in a thousand times; the seed is fixed.
      expect(chiSquare).toBeLessThan(16.3);
    });

    it("are not moved by a look at the distribution", () => {
      const looking = sampler({ seed: 5 }, 4);
      const drawn = Array.from({ length: 50 }, () => {
        looking.distribution(scores);
        return looking.sample(scores);
      });
      expect(drawn).toEqual(draw({ seed: 5 }, 50));
    });
  });

  describe("with logits at the limits", () => {
    it("never chooses a row beyond the vocabulary", () => {
      expect(sampler({ temperature: 0 }, 2).sample(Float32Array.of(0, 1, 9))).toBe(1);
      const penalised = sampler({ topK: 2, repetitionPenalty: 2 }, 2, [0]);
      expect([...penalised.distribution(Float32Array.of(0, 1, 9)).keys()]).toEqual([0, 1]);
    });

    it("never chooses what is -Infinity", () => {
      const scores = Float32Array.of(Number.NEGATIVE_INFINITY, 0, Number.NEGATIVE_INFINITY, 1);
      for (const options of [{}, { topK: 3 }, { topP: 0.999 }, { minP: 0.01 }]) {
        const drawing = sampler(options, 4);
        const drawn = new Set(Array.from({ length: 200 }, () => drawing.sample(scores)));
        expect([...drawn].sort()).toEqual([1, 3]);
      }
    });

    it("stays a distribution for huge logits and small temperatures", () => {
      const scores = Float32Array.of(1e30, -1e30, 1e30, 0);
      for (const temperature of [1e-6, 1e-3, 1, 100]) {
        expect([...sampler({ temperature, topK: 2 }, 4).distribution(scores)]).toMatchObject([
          [0, 0.5],
          [2, 0.5],
        ]);
      }
    });

    it.each([
      ["NaN", [0, Number.NaN, 1]],
      ["NaN only", [Number.NaN, Number.NaN, Number.NaN]],
      ["+Infinity", [0, Number.POSITIVE_INFINITY, 1]],
      ["-Infinity only", [1, 1, 1].map(() => Number.NEGATIVE_INFINITY)],
    ])("refuses %s", (_, scores) => {
      for (const temperature of [0, 1]) {
        expect(() => sampler({ temperature }, 3).sample(Float32Array.from(scores))).toThrow(
          expect.objectContaining({ code: "inference-failed", stage: "sampling" }),
        );
      }
    });
  });
});
