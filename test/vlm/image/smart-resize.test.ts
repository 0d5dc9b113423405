import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { fitToBudget, smartResize } from "../../../src/vlm/image/smart-resize.ts";

type Row = [height: number, width: number, min: number, max: number, expected: number[] | string];

const goldens = JSON.parse(
  readFileSync(new URL("../../goldens/smart_resize.json", import.meta.url), "utf8"),
) as { factor: number; rows: Row[] };

function outcome([height, width, minPixels, maxPixels]: Row): number[] | string {
  try {
    const size = smartResize({ width, height }, { factor: goldens.factor, minPixels, maxPixels });
    return [size.height, size.width];
  } catch (error) {
    return (error as Error).message;
  }
}

const SHIPPED = { factor: 32, minPixels: 65_536, maxPixels: 16_777_216 };

describe("smartResize", () => {
  it("agrees with the reference in all 342 goldens, error texts included", () => {
    expect(goldens.rows).toHaveLength(342);
    expect(goldens.rows.map(outcome)).toEqual(goldens.rows.map((row) => row[4]));
  });

  it.each([
    [336, 336, 320, 320],
    [1280, 720, 1280, 704],
    [400, 1200, 384, 1216],
    [1296, 720, 1280, 704],
  ])("rounds halves to even: %i x %i becomes %i x %i", (width, height, toWidth, toHeight) => {
    expect(smartResize({ width, height }, SHIPPED)).toEqual({ width: toWidth, height: toHeight });
  });

  it("takes a ratio of exactly 200", () => {
    expect(smartResize({ width: 200, height: 1 }, SHIPPED)).toEqual({ width: 3648, height: 32 });
  });
});

describe("fitToBudget", () => {
  const budget = { factor: 32, minPixels: 65_536, maxPixels: 1_048_576 };

  it("is the reference wherever the reference stays within its own limit", () => {
    for (const [height, width, minPixels, maxPixels, expected] of goldens.rows) {
      if (typeof expected === "string" || expected[0]! * expected[1]! > maxPixels) continue;
      const size = fitToBudget({ width, height }, { factor: 32, minPixels, maxPixels });
      expect([size.height, size.width]).toEqual(expected);
    }
  });

  it("treats a picture more elongated than 200 to 1 as if it were 200 to 1", () => {
    expect(fitToBudget({ width: 1, height: 4000 }, budget)).toEqual(
      smartResize({ width: 20, height: 4000 }, budget),
    );
    expect(fitToBudget({ width: 20_000, height: 10 }, budget)).toEqual(
      smartResize({ width: 20_000, height: 100 }, budget),
    );
  });

  it("stays within any budget, in whole blocks, at any aspect ratio", () => {
    const sides = [1, 2, 7, 15, 16, 17, 31, 48, 63, 100, 511, 900, 4000, 65_536];
    for (const tokens of [1, 2, 3, 4, 5, 16, 63, 64, 65, 100, 199, 512, 1024]) {
      const maxPixels = tokens * 1024;
      for (const minPixels of [1, Math.min(4096, maxPixels), Math.min(65_536, maxPixels)]) {
        for (const width of sides) {
          for (const height of sides) {
            const size = fitToBudget({ width, height }, { factor: 32, minPixels, maxPixels });
            const blocks = (size.width / 32) * (size.height / 32);
            expect(size.width % 32 === 0 && size.height % 32 === 0 && blocks >= 1).toBe(true);
            expect(blocks).toBeLessThanOrEqual(tokens);
          }
        }
      }
    }
  });

  it("uses a small budget up even for a picture that is more elongated than it", () => {
    // 64 blocks: a strip of 64 to 1, not a single block.
    const size = fitToBudget(
      { width: 900, height: 10 },
      { factor: 32, minPixels: 65_536, maxPixels: 65_536 },
    );
    expect(size.width * size.height).toBeGreaterThan(32_768);
  });
});
