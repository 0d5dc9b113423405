// How a step is shared out: what an H100 gets for the published sizes, and what does not fit.

import { describe, expect, it } from "vitest";
import type { TextConfig } from "../../../src/vlm/checkpoint/config.ts";
import type { OnnxPackage } from "../../../src/vlm/engine/onnx-package.ts";
import { planSteps, StepPlan, sharedBytesOfMix } from "../../../src/vlm/engine/step-plan.ts";
import { loadStepWeights } from "../../../src/vlm/engine/step-weights.ts";
import type { CudaDevice } from "../../../src/vlm/runtime/cuda-device.ts";

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
});

/** Sizes that differ from those of the 2B. */
const TEXTS = {
  "4B": { hiddenSize: 2560, intermediateSize: 9728, heads: 32, layers: 36 },
  "8B": { hiddenSize: 4096, intermediateSize: 12_288, heads: 32, layers: 36 },
  "32B": { hiddenSize: 5120, intermediateSize: 25_600, heads: 64, layers: 64 },
};
const T4 = { multiprocessors: 40, sharedBytes: 65_536 };
const A100 = { multiprocessors: 108, sharedBytes: 166_912 };

describe("the forms of a card", () => {
  const forms = (text: Partial<TextConfig>, limits: typeof T4, mostChats = 32) =>
    planSteps({ ...TEXT, ...text }, BITS, limits, mostChats).map(({ rows }) => rows);

  it("are for one, four, eight and sixteen chats, or for as many as a block has memory for", () => {
    expect(forms({}, H100)).toEqual([1, 4, 8, 16]);
    expect(forms({}, A100)).toEqual([1, 4, 8]);
    expect(forms({}, RTX_4090)).toEqual([1, 4, 7]);
    expect(forms({}, T4)).toEqual([1, 4]);
    expect(forms(TEXTS["4B"], H100)).toEqual([1, 4, 8]);
    expect(forms(TEXTS["4B"], RTX_4090)).toEqual([1, 4]);
    expect(forms(TEXTS["4B"], T4)).toEqual([1, 2]);
    expect(forms(TEXTS["8B"], H100)).toEqual([1, 4, 8]);
    expect(forms(TEXTS["8B"], A100)).toEqual([1, 4, 6]);
    expect(forms(TEXTS["8B"], RTX_4090)).toEqual([1, 3]);
    expect(forms(TEXTS["8B"], T4)).toEqual([1, 2]);
    expect(forms(TEXTS["32B"], RTX_4090)).toEqual([1]);
  });

  it("that more chats would need than there ever are, are not made", () => {
    expect([1, 3, 4, 8, 9].map((most) => forms({}, H100, most).at(-1))).toEqual([1, 4, 4, 8, 16]);
  });

  it("have room for whole lots of eight where there are more: that is how activations lie", () => {
    const bytes = (rows: number) => new StepPlan(TEXT, BITS, rows, H100).products.inner.sharedBytes;
    expect(bytes(7)).toBe((7 * bytes(8)) / 8);
    expect([9, 15, 16].map(bytes)).toEqual([9, 15, 16].map(() => 2 * bytes(8)));
  });

  it("stay within what the card has, with what the kernels declare", () => {
    for (const text of [{}, ...Object.values(TEXTS)]) {
      for (const limits of [H100, A100, RTX_4090, T4]) {
        for (const plan of planSteps({ ...TEXT, ...text }, BITS, limits, 32)) {
          for (const { sharedBytes, threads, tiles, slices } of Object.values(plan.products)) {
            const sums = tiles * slices * 16 * Math.ceil(plan.rows / 8) * 8 * 4;
            expect(sharedBytes + sums).toBeLessThanOrEqual(limits.sharedBytes);
            expect(threads).toBeLessThanOrEqual(768);
          }
        }
      }
    }
  });

  it("are none where not even one chat has room, in a sentence", () => {
    expect(() => forms({ intermediateSize: 65_536 }, T4)).toThrow(
      "a block of threads has 64 KiB on this card, which is too little for layers of 65536 columns",
    );
  });
});

describe("decoders that the kernels do not know", () => {
  it("need 40 KiB for the attention of a 32B, and 74 for groups twice as wide: ptxas said so", () => {
    expect(sharedBytesOfMix(8, 128)).toBeGreaterThan(36 * 1024);
    expect(sharedBytesOfMix(8, 128)).toBeLessThanOrEqual(37_904);
    expect(sharedBytesOfMix(8, 256)).toBeGreaterThan(48 * 1024);
  });

  it.each<[Partial<TextConfig>, RegExp]>([
    [{ hiddenSize: 2064 }, /whole blocks of 32, not 2064, 6144, 2048/],
    [{ heads: 3, kvHeads: 3, headSize: 16 }, /whole blocks of 32, not 2048, 6144, 48/],
    [{ headSize: 96 }, /heads of 16 to 256, doubling, and not of 96/],
    [{ heads: 16, kvHeads: 1 }, /no memory for 16 heads of queries on 1 of keys of size 128/],
    [{ vocabSize: 63 }, /vocabularies of 64 tokens and more/],
  ])("are refused by name before anything is loaded: %j", async (text, expected) => {
    const model = { config: { text: { ...TEXT, ...text } } } as unknown as OnnxPackage;
    const loading = loadStepWeights(undefined as unknown as CudaDevice, model);
    await expect(loading).rejects.toMatchObject({ name: "StepWeightsError" });
    await expect(loading).rejects.toThrow(expected);
  });
});
