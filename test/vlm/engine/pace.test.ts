import { describe, expect, it } from "vitest";
import { Pace } from "../../../src/vlm/engine/pace.ts";

describe("Pace", () => {
  it("plans chunks that take no longer than they may", () => {
    const pace = new Pace();
    expect(pace.chunkTokens(500, 256)).toBe(4); // nothing is known yet
    pace.prompt(256, 2560);
    expect(pace.chunkTokens(500, 256)).toBe(42);
    expect(pace.chunkTokens(50_000, 256)).toBe(256);
    expect(pace.chunkTokens(0, 256)).toBe(4);
  });

  it("knows what a run takes besides its tokens", () => {
    const pace = new Pace();
    const ms = (tokens: number) => 100 + 10 * tokens;
    for (const tokens of [256, 40, 256, 20]) pace.prompt(tokens, ms(tokens));
    const tokens = pace.chunkTokens(500, 256);
    expect(ms(tokens)).toBeLessThanOrEqual(500);
    expect(tokens).toBeGreaterThanOrEqual(20);
  });

  it("plans large chunks again after a time in which the machine was busy", () => {
    const pace = new Pace();
    const run = (slowdown: number) => {
      const tokens = pace.chunkTokens(500, 256);
      pace.prompt(tokens, slowdown * (20 + 2 * tokens));
      return tokens;
    };
    const runs = (slowdown: number) => Array.from({ length: 30 }, () => run(slowdown)).at(-1)!;
    const before = runs(1);
    expect(before).toBeGreaterThan(100);
    expect(runs(8)).toBeLessThan(before / 4);
    expect(runs(1)).toBeGreaterThan(0.9 * before);
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

  it("expects a step beside a picture to take twice as long, and learns from it what one alone takes", () => {
    const pace = new Pace();
    pace.step(2, 160, true);
    expect([pace.stepMs(2), pace.stepBesideMs(2)]).toEqual([80, 160]);
  });

  it("leaves more room where plans were wrong, and less where they held", () => {
    const planned = (noise: (run: number) => number) => {
      const pace = new Pace();
      for (let run = 0; run < 40; run++) {
        const tokens = 20 + 20 * (run % 3);
        pace.prompt(tokens, noise(run) * (50 + 10 * tokens));
      }
      return pace.chunkTokens(500, 256);
    };
    const steady = planned(() => 1);
    // 45 tokens take all of the time.
    expect(steady).toBeGreaterThan(40);
    expect(steady).toBeLessThan(45);
    const busy = planned((run) => (run % 2 === 0 ? 0.6 : 1.4));
    expect(busy).toBeLessThan(38);
    expect(busy).toBeGreaterThan(10);
  });

  it("learns what tokens of others add to a chunk", () => {
    const pace = new Pace();
    for (const tokens of [20, 40, 60]) pace.prompt(tokens, 50 + 10 * tokens);
    pace.step(3, 90);
    // As if they were tokens of the prompt, until it is known.
    expect(pace.joinedMs(3)).toBeCloseTo(30, 0);
    for (let run = 0; run < 30; run++) {
      const tokens = 20 + 20 * (run % 3);
      pace.together(tokens, 3, 50 + 10 * tokens + 45);
    }
    expect(pace.joinedMs(3)).toBeCloseTo(45, 0);
    expect(pace.joinedMs(6)).toBeCloseTo(90, 0);
    // 40 tokens and the three take all of the time.
    const tokens = pace.chunkTokens(500 - pace.joinedMs(3), 256);
    expect(tokens).toBeGreaterThan(36);
    expect(tokens).toBeLessThanOrEqual(40);
  });

  it("knows from a step what a run takes by itself, where all chunks were of one size", () => {
    const [alone, stepped] = [new Pace(), new Pace()];
    stepped.step(1, 60);
    for (const pace of [alone, stepped]) pace.prompt(128, 50 + 10 * 128);
    expect(stepped.joinedMs(1)).toBeCloseTo(10);
    expect(alone.joinedMs(1)).toBeCloseTo(10.39);
    // Of 500 ms, 50 are the run's; some of the rest stays unplanned.
    expect(stepped.tokensWithin(500)).toBeLessThan(alone.tokensWithin(500));
  });

  it("cuts what is left of a prompt evenly, and spares a run where a little more would fit", () => {
    const pace = new Pace();
    for (let run = 0; run < 40; run++) pace.prompt(20 + 20 * (run % 3), 250 + 200 * (run % 3));
    const [planned, whole] = [pace.tokensWithin(500), 45];
    expect(planned).toBeLessThan(whole);
    expect(pace.evenChunk(500, 256, 4 * planned)).toBe(planned);
    expect(pace.evenChunk(500, 256, 100)).toBe(34);
    expect(pace.evenChunk(500, 256, 2 * planned + 1)).toBe(planned + 1);
    expect(pace.evenChunk(500, 256, 2 * whole + 1)).toBe(Math.ceil((2 * whole + 1) / 3));
    expect(pace.evenChunk(500, 16, 40)).toBe(14);
    expect(pace.evenChunk(0, 256, 10)).toBe(4);
    expect(pace.evenChunk(500, 256, 3)).toBe(3);
  });

  it("estimates prompts and pictures together", () => {
    const pace = new Pace();
    pace.prompt(100, 1000);
    pace.picture(200, 6000);
    expect(pace.estimate(50, 100)).toBe(500 + 3000);
  });
});
