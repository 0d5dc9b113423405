import { describe, expect, it } from "vitest";
import { Candidates } from "../../../src/vlm/engine/candidates.ts";

describe("Candidates", () => {
  it("draws the last possible one when rounding leaves a crumb of the sum", () => {
    const candidates = new Candidates();
    candidates.begin(Float32Array.of(1, 1, Number.NEGATIVE_INFINITY), 3, 0, 1);
    candidates.takeTopK(3);
    expect(candidates.draw(1)).toBe(1);
  });

  it("forgets one step when the next begins", () => {
    const candidates = new Candidates();
    candidates.begin(Float32Array.of(3, 2, 1), 3, 0, 1);
    candidates.takeTopK(2);
    candidates.begin(Float32Array.of(1, 2), 2, 1, 1);
    candidates.takeTopK(1);
    expect([...candidates.probabilities()]).toEqual([[1, 1]]);
  });

  it("grows to a whole vocabulary", () => {
    const candidates = new Candidates();
    candidates.begin(new Float32Array(151_936), 151_936, 0, 1);
    candidates.takeDownTo(Number.POSITIVE_INFINITY);
    expect(candidates.probabilities().size).toBe(151_936);
    expect(candidates.draw(0.5)).toBe(75_968);
  });
});
