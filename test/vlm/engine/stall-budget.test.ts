import { describe, expect, it } from "vitest";
import { Pace } from "../../../src/vlm/engine/pace.ts";
import { StallBudget } from "../../../src/vlm/engine/stall-budget.ts";

describe("StallBudget", () => {
  const budgetOf = (stepMs: number) => {
    const pace = new Pace();
    for (let run = 0; run < 3; run++) pace.prompt(100, 1000);
    pace.step(2, stepMs);
    return new StallBudget({ pace, maxStallMs: 60_000, maxChunkTokens: 1_000_000 });
  };

  it("gives a prompt what is left of the stall, and whole chunks when nobody waits for text", () => {
    const budget = budgetOf(10_000);
    budget.gotText();
    const tokens = budget.chunkTokens(2, false);
    // 50 s at 10 ms a token, less a margin, and less what this test takes.
    expect(tokens).toBeLessThanOrEqual(5000);
    expect(tokens).toBeGreaterThan(2000);
    expect(budget.hasRoomFor(100, 2)).toBe(true);
    expect(budget.chunkTokens(0, false)).toBe(1_000_000);
    expect(budget.chunkTokens(0, true)).toBeLessThanOrEqual(6000);
  });

  it("has no room when nobody got text for longer than that", () => {
    const budget = budgetOf(10_000);
    expect(new Pace().tokensWithin(1000)).toBe(0);
    Object.defineProperty(budget, "sinceText", { value: 60_000 });
    expect(budget.hasRoomFor(100, 2)).toBe(false);
    expect(budget.chunkTokens(2, false)).toBe(4);
  });

  it("reads on where a step alone takes longer than the stall", () => {
    const budget = budgetOf(100_000);
    budget.gotText();
    const tokens = budget.chunkTokens(2, false);
    expect(tokens).toBeGreaterThan(1000);
    expect(tokens).toBeLessThanOrEqual(5000);
  });

  it("cuts a prompt evenly that those who write are in the runs of", () => {
    const budget = budgetOf(10_000);
    Object.defineProperty(budget, "sinceText", { value: 0 });
    const most = budget.joinedTokens(2, 1_000_000);
    expect(most).toBeGreaterThan(4000);
    expect(most).toBeLessThanOrEqual(6000);
    expect(budget.joinedTokens(2, 6600)).toBe(3300);
    expect(budget.joinedTokens(2, 50)).toBe(50);
  });

  it("leaves the cores to a picture until a step has to begin that takes twice as long beside it", () => {
    const budget = budgetOf(10_000);
    Object.defineProperty(budget, "sinceText", { value: 7000 });
    expect(budget.pauseMs(2)).toBe(0.95 * 60_000 - 7000 - 20_000);
  });
});
