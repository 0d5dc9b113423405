// How a step is shared out: what an H100 gets for the published sizes, and what does not fit.

import { describe, expect, it } from "vitest";
import type { TextConfig } from "../../../src/vlm/checkpoint/config.ts";
import { StepPlan } from "../../../src/vlm/engine/step-plan.ts";

const H100 = { multiprocessors: 132, sharedBytes: 232_448 };
/** An RTX 4090: as many multiprocessors, less memory in each. */
const RTX_4090 = { multiprocessors: 128, sharedBytes: 101_376 };
const BITS = { layers: 4, head: 8 } as const;
const TEXT: TextConfig = {
  ...{ vocabSize: 151_936, hiddenSize: 2048, intermediateSize: 6144, layers: 28, heads: 16 },
  ...{ kvHeads: 8, headSize: 128, rmsNormEps: 1e-6, ropeTheta: 5e6, mropeSection: [24, 20, 20] },
  ...{ maxPositionEmbeddings: 262_144, eosTokenIds: [] },
};

describe("a step of a 2B", () => {
  it("has work for nearly all multiprocessors, in whole spans", () => {
    const { products, parts, fits } = new StepPlan(TEXT, BITS, 1, H100);
    expect(fits).toBe(true);
    expect(parts).toBe(16);
    expect(products).toMatchObject({
      project: { tiles: 2, slices: 8, blocks: 128, threads: 512 },
      mixed: { tiles: 1, slices: 16, blocks: 128 },
      gate: { tiles: 6, slices: 4, blocks: 128, threads: 768 },
      inner: { tiles: 1, slices: 24, blocks: 128 },
      head: { tiles: 4, slices: 4, blocks: 132, threads: 512 },
    });
  });

  it.each([1, 4, 8])("covers every row and every column once, for %i chats", (rows) => {
    const { products } = new StepPlan(TEXT, BITS, rows, H100);
    const columns = { project: 2048, mixed: 2048, gate: 2048, inner: 6144, head: 2048 };
    for (const [name, { slices, threads, tiles, sharedBytes }] of Object.entries(products)) {
      const of = columns[name as keyof typeof columns];
      const spans = of / 128;
      expect(Math.ceil(spans / slices) * (slices - 1)).toBeLessThan(spans);
      expect(threads).toBe(tiles * slices * 32);
      expect(sharedBytes).toBeGreaterThanOrEqual(2 * rows * of);
    }
  });

  it("names every constant that the kernels are compiled with", async () => {
    const { readFile } = await import("node:fs/promises");
    const source = new URL("../../../src/vlm/engine/step-kernels.cu", import.meta.url);
    const text = await readFile(source, "utf8");
    const named = new Set(text.match(/\b[A-Z][A-Z0-9_]{3,}\b/g));
    for (const name of Object.keys(new StepPlan(TEXT, BITS, 1, H100).constants)) {
      expect(named).toContain(name);
    }
  });

  it("for eight chats does not fit where a multiprocessor has little memory", () => {
    const fits = (rows: number) => new StepPlan(TEXT, BITS, rows, RTX_4090).fits;
    expect([1, 4, 8].map(fits)).toEqual([true, true, false]);
  });
});
