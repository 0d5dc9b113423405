import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { type ImageSpan, mropePositions } from "../../../src/vlm/text/position-ids.ts";

interface ExpectedCase {
  readonly input_ids: readonly number[];
  readonly image_grid_thw: readonly (readonly [number, number, number])[];
  readonly position_ids: readonly (readonly number[])[];
  readonly rope_delta: number;
}

const MERGE_SIZE = 2;
const IMAGE_PAD = 250;

const axes = (positions: Int32Array): number[][] => {
  const length = positions.length / 3;
  return [0, 1, 2].map((axis) =>
    Array.from(positions.subarray(axis * length, (axis + 1) * length)),
  );
};

/** Spans of a golden sequence: pictures are runs of image tokens, one after each vision start. */
function spansOf({ input_ids, image_grid_thw }: ExpectedCase): ImageSpan[] {
  let from = 0;
  return image_grid_thw.map(([, height, width]) => {
    const start = input_ids.indexOf(IMAGE_PAD, from);
    const rows = height / MERGE_SIZE;
    const columns = width / MERGE_SIZE;
    from = start + rows * columns;
    return { start, rows, columns };
  });
}

describe("mropePositions", () => {
  for (const model of ["tiny-tied", "tiny-untied"]) {
    const file = new URL(`../../goldens/${model}/expected.json`, import.meta.url);
    const cases = JSON.parse(readFileSync(file, "utf8")) as Record<string, ExpectedCase>;

    it.each(Object.keys(cases))(`matches the reference for ${model}/%s`, (name) => {
      const golden = cases[name]!;
      const { positions, nextPosition, delta } = mropePositions(
        golden.input_ids.length,
        spansOf(golden),
      );
      expect(axes(positions)).toEqual(golden.position_ids);
      expect(delta).toBe(golden.rope_delta);
      expect(nextPosition).toBe(golden.input_ids.length + golden.rope_delta);
    });
  }

  it("spreads a picture over rows and columns and goes on after its longer side", () => {
    const { positions, nextPosition, delta } = mropePositions(12, [
      { start: 3, rows: 2, columns: 3 },
    ]);
    expect(axes(positions)).toEqual([
      [0, 1, 2, 3, 3, 3, 3, 3, 3, 6, 7, 8],
      [0, 1, 2, 3, 3, 3, 4, 4, 4, 6, 7, 8],
      [0, 1, 2, 3, 4, 5, 3, 4, 5, 6, 7, 8],
    ]);
    expect(nextPosition).toBe(9);
    expect(delta).toBe(-3);
  });

  it("treats each pair of video frames as a picture of its own", () => {
    const pair = { rows: 1, columns: 2 };
    const { positions, delta } = mropePositions(13, [
      { start: 3, ...pair },
      { start: 9, ...pair },
    ]);
    expect(axes(positions)).toEqual([
      [0, 1, 2, 3, 3, 5, 6, 7, 8, 9, 9, 11, 12],
      [0, 1, 2, 3, 3, 5, 6, 7, 8, 9, 9, 11, 12],
      [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12],
    ]);
    expect(delta).toBe(0);
  });

  it("counts text one by one on all axes, with delta 0", () => {
    const { positions, nextPosition, delta } = mropePositions(4);
    expect(axes(positions)).toEqual([0, 1, 2].map(() => [0, 1, 2, 3]));
    expect([nextPosition, delta]).toEqual([4, 0]);
  });

  it("goes on after a tall picture by its height and after a wide one by its width", () => {
    expect(mropePositions(8, [{ start: 0, rows: 8, columns: 1 }]).nextPosition).toBe(8);
    expect(mropePositions(8, [{ start: 0, rows: 1, columns: 8 }]).nextPosition).toBe(8);
    expect(mropePositions(8, [{ start: 0, rows: 2, columns: 4 }]).nextPosition).toBe(4);
  });

  it("gives a later turn the positions it has in the whole conversation", () => {
    const spans = [
      { start: 2, rows: 2, columns: 3 },
      { start: 11, rows: 3, columns: 1 },
    ];
    const whole = mropePositions(16, spans);
    const first = mropePositions(9, spans.slice(0, 1));
    const second = mropePositions(7, [{ start: 2, rows: 3, columns: 1 }], {
      nextPosition: first.nextPosition,
      length: 9,
    });
    expect(axes(second.positions)).toEqual(axes(whole.positions).map((axis) => axis.slice(9)));
    expect(second.nextPosition).toBe(whole.nextPosition);
    expect(second.delta).toBe(whole.delta);
  });

  it.each([
    ["beyond the end", [{ start: 1, rows: 2, columns: 2 }]],
    [
      "overlapping",
      [
        { start: 0, rows: 1, columns: 2 },
        { start: 1, rows: 1, columns: 1 },
      ],
    ],
    ["empty", [{ start: 0, rows: 0, columns: 3 }]],
  ])("refuses pictures that are %s", (_, spans) => {
    expect(() => mropePositions(4, spans)).toThrow(RangeError);
  });
});
