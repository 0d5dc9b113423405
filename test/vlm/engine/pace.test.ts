import { describe, expect, it } from "vitest";
import { Pace } from "../../../src/vlm/engine/pace.ts";

describe("Pace", () => {
  it("plans chunks that take no longer than they may", () => {
    const pace = new Pace();
    expect(pace.chunkTokens(500, 256)).toBe(4); // nothing is known yet
    pace.prompt(256, 2560);
    expect(pace.chunkTokens(500, 256)).toBe(35);
    expect(pace.chunkTokens(50_000, 256)).toBe(256);
    expect(pace.chunkTokens(0, 256)).toBe(4);
  });

  it("learns that short chunks take longer for each token", () => {
    const pace = new Pace();
    pace.prompt(256, 2560);
    pace.prompt(35, 700);
    const tokens = pace.chunkTokens(500, 256);
    expect(tokens * 20).toBeLessThanOrEqual(500);
    expect(tokens).toBeGreaterThan(8);
  });

  it("follows a machine that becomes slower and faster again", () => {
    const pace = new Pace();
    const tokensAt = (ms: number) => {
      for (let run = 0; run < 20; run++) pace.prompt(32, 32 * ms);
      return pace.chunkTokens(500, 256);
    };
    const [before, slow, after] = [tokensAt(10), tokensAt(40), tokensAt(10)];
    expect(slow).toBeLessThan(before / 3);
    expect(Math.abs(after - before)).toBeLessThanOrEqual(1);
  });

  it("expects a step to take what it took, or what the next larger took", () => {
    const pace = new Pace();
    expect(pace.stepMs(3)).toBe(0);
    pace.step(1, 50);
    pace.step(4, 80);
    expect(pace.stepMs(1)).toBe(50);
    expect(pace.stepMs(2)).toBe(80);
    expect(pace.stepMs(8)).toBe(80);
    expect(pace.stepMs(0)).toBe(50);
  });

  it("estimates prompts and pictures together", () => {
    const pace = new Pace();
    pace.prompt(100, 1000);
    pace.picture(200, 6000);
    expect(pace.estimate(50, 100)).toBe(500 + 3000);
  });
});
