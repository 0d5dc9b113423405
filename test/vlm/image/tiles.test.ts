import { describe, expect, it } from "vitest";
import { cropTile, planTiles } from "../../../src/vlm/image/tiles.ts";

const budget = { factor: 32, minPixels: 65_536, maxPixels: 512 * 1024 };
const plan = (width: number, height: number, maxTiles = 4) =>
  planTiles({ width, height }, budget, maxTiles);

describe("planTiles", () => {
  it.each([
    ["a photo", 4000, 3000],
    ["a phone's screen", 1080, 2340],
    ["a strip that is small enough", 300, 1700],
    ["a sticker", 96, 96],
    ["a line", 4000, 20],
  ])("leaves %s whole", (_, width, height) => {
    expect(plan(width, height)).toMatchObject({ tiles: [{ start: 0 }], tooSmall: false });
  });

  it("cuts a long screenshot into as few readable pieces as it can", () => {
    expect(plan(1080, 6000).tiles).toHaveLength(4);
    expect(plan(1080, 4500).tiles).toHaveLength(3);
    expect(plan(1080, 3000).tiles).toHaveLength(2);
    expect(plan(6000, 1080)).toMatchObject({ vertical: false, tooSmall: false });
  });

  it("covers everything, and every cut twice", () => {
    for (const height of [3000, 6000, 6001, 20_000]) {
      const { tiles } = plan(1080, height);
      expect(tiles[0]!.start).toBe(0);
      expect(tiles.at(-1)!.end).toBe(height);
      for (const [index, tile] of tiles.slice(1).entries()) {
        expect(tiles[index]!.end - tile.start).toBeGreaterThanOrEqual(40);
      }
    }
  });

  it("says that small print is lost when even the most pieces are not enough", () => {
    expect(plan(1080, 20_000)).toMatchObject({ tooSmall: true });
    expect(plan(1080, 20_000).tiles).toHaveLength(4);
    expect(plan(1080, 6000, 1)).toMatchObject({ tiles: [{ start: 0, end: 6000 }], tooSmall: true });
  });
});

describe("cropTile", () => {
  const image = { width: 2, height: 3, pixels: Uint8Array.from({ length: 18 }, (_, i) => i) };

  it("takes rows or columns", () => {
    const rows = cropTile(image, { start: 1, end: 3 }, true);
    expect(rows).toMatchObject({ width: 2, height: 2 });
    expect([...rows.pixels]).toEqual([6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17]);
    const columns = cropTile(image, { start: 1, end: 2 }, false);
    expect(columns).toMatchObject({ width: 1, height: 3 });
    expect([...columns.pixels]).toEqual([3, 4, 5, 9, 10, 11, 15, 16, 17]);
  });
});
