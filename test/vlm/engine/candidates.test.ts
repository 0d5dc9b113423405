import { describe, expect, it } from "vitest";
import { Candidates } from "../../../src/vlm/engine/candidates.ts";
import { HighScores } from "../../../src/vlm/engine/high-scores.ts";

function candidatesOf() {
  const high = new HighScores();
  const candidates = new Candidates(high);
  const begin = (scores: Float32Array) => {
    high.look(scores, scores.length);
    candidates.begin(1);
  };
  return { candidates, begin };
}

describe("Candidates", () => {
  it("draws the last possible one when rounding leaves a crumb of the sum", () => {
    const { candidates, begin } = candidatesOf();
    begin(Float32Array.of(1, 1, Number.NEGATIVE_INFINITY));
    candidates.takeTopK(3);
    expect(candidates.draw(1)).toBe(1);
  });

  it("forgets one step when the next begins", () => {
    const { candidates, begin } = candidatesOf();
    begin(Float32Array.of(3, 2, 1));
    candidates.takeTopK(2);
    begin(Float32Array.of(1, 2));
    candidates.takeTopK(1);
    expect([...candidates.probabilities()]).toEqual([[1, 1]]);
  });

  it("grows to a whole vocabulary", () => {
    const { candidates, begin } = candidatesOf();
    begin(new Float32Array(151_936));
    candidates.takeDownTo(Number.POSITIVE_INFINITY);
    expect(candidates.probabilities().size).toBe(151_936);
    expect(candidates.draw(0.5)).toBe(75_968);
  });
});
