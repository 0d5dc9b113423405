import { describe, expect, it } from "vitest";
import { placeFeatures } from "../../../src/vlm/engine/place-features.ts";

const HIDDEN = 1024;
const TAPS = 2;

/** Rows that differ from each other and from those of other taps, and never are 0. */
function featuresOf(tokens: number) {
  const numbered = (length: number) => Float32Array.from({ length }, (_, index) => index + 1);
  const imageFeatures = numbered(tokens * HIDDEN);
  const deepstack = numbered(TAPS * tokens * HIDDEN);
  const byteLength = imageFeatures.byteLength + deepstack.byteLength;
  return { tokens, imageFeatures, deepstack, byteLength };
}

function rowsOf(tokens: number, joined = 0) {
  return {
    tokens,
    joined,
    hiddenSize: HIDDEN,
    embeds: new Float32Array(tokens * HIDDEN),
    deepstack: new Float32Array(TAPS * tokens * HIDDEN),
  };
}

/** First value of each of the rows. */
function firsts(array: Float32Array): number[] {
  return Array.from({ length: array.length / HIDDEN }, (_, row) => array[row * HIDDEN]!);
}

describe("placeFeatures", () => {
  it("copies large pictures whole, although it does so in slices", async () => {
    const features = featuresOf(700); // several pieces, the last one not full
    const rows = rowsOf(703);
    await placeFeatures([{ start: 2, features }], rows);
    const placed = (array: Float32Array, token: number, tokens: number) =>
      Buffer.from(array.subarray(token * HIDDEN, (token + tokens) * HIDDEN).slice().buffer);
    const source = (array: Float32Array, from: number) => placed(array, from, 700);
    expect(placed(rows.embeds, 2, 700).equals(source(features.imageFeatures, 0))).toBe(true);
    for (let tap = 0; tap < TAPS; tap++) {
      const taken = placed(rows.deepstack, tap * 703 + 2, 700);
      expect(taken.equals(source(features.deepstack, tap * 700))).toBe(true);
    }
    const around = (array: Float32Array, first: number) =>
      [0, 1, 702].map((token) => array[(first + token) * HIDDEN]);
    expect([around(rows.embeds, 0), around(rows.deepstack, 703)]).toEqual([
      [0, 0, 0],
      [0, 0, 0],
    ]);
  });

  it("takes of each picture what lies in the run, and leaves the rows of others alone", async () => {
    const rows = rowsOf(6, 1);
    const begun = featuresOf(5); // its last two rows are the run's first
    const cut = featuresOf(4); // goes on behind the run
    await placeFeatures(
      [
        { start: -3, features: begun },
        { start: 3, features: cut },
      ],
      rows,
    );
    const row = (number: number) => number * HIDDEN + 1;
    expect(firsts(rows.embeds)).toEqual([row(3), row(4), 0, row(0), row(1), 0]);
    const second = [row(5 + 3), row(5 + 4), 0, row(4 + 0), row(4 + 1), 0];
    expect(firsts(rows.deepstack)).toEqual([...firsts(rows.embeds), ...second]);
  });

  it("does without DeepStack where the decoder takes none", async () => {
    const { deepstack: _, ...rows } = rowsOf(3);
    await placeFeatures([{ start: 1, features: featuresOf(2) }], rows);
    expect(firsts(rows.embeds)).toEqual([0, 1, HIDDEN + 1]);
  });
});
