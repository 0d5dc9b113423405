import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { HighScores } from "../../../src/vlm/engine/high-scores.ts";
import { effort } from "../../support/fuzz.ts";

describe("HighScores", () => {
  const scoresOf = fc.array(fc.float({ noNaN: true, max: 1000 }), { minLength: 1, maxLength: 400 });

  it("finds the first of the highest, and goes by no score that is high enough", () => {
    fc.assert(
      fc.property(scoresOf, fc.float({ noNaN: true }), fc.nat(), (numbers, floor, seed) => {
        const scores = Float32Array.from(numbers);
        const size = 1 + (seed % scores.length);
        const part = scores.subarray(0, size);
        fc.pre(part.some((score) => score > Number.NEGATIVE_INFINITY));
        const high = new HighScores();
        high.look(scores, size);
        expect(high.best).toBe(part.indexOf(Math.max(...part)));

        const found: number[] = [];
        for (let id = high.next(0, floor); id < size; id = high.next(id, floor)) {
          for (const end = high.endOf(id); id < end; id++) {
            if (scores[id]! >= floor) found.push(id);
          }
        }
        expect(found).toEqual([...part.keys()].filter((id) => part[id]! >= floor));
      }),
      effort(),
    );
  });

  it("forgets the step before, which may have been longer", () => {
    const high = new HighScores();
    high.look(new Float32Array(300).fill(5), 300);
    high.look(Float32Array.of(1, 2), 2);
    expect([high.best, high.size, high.next(0, 3), high.next(0, 2)]).toEqual([1, 2, 2, 0]);
  });

  it.each([
    [
      "NaN, first at id 130",
      Float32Array.from({ length: 200 }, (_, id) => (id < 130 ? id : Number.NaN)),
    ],
    ["no distribution: the highest is Infinity", Float32Array.of(0, Number.POSITIVE_INFINITY)],
    [
      "no distribution: the highest is -Infinity",
      new Float32Array(99).fill(Number.NEGATIVE_INFINITY),
    ],
  ])("refuses what is %s", (message, scores) => {
    expect(() => new HighScores().look(scores, scores.length)).toThrow(message);
  });
});
