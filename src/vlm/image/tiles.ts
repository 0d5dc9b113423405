// Long screenshots in pieces, each large enough to be read. In: the size of a picture and a budget. Out: where to cut.
// It touches no pixels.

import type { RgbImage } from "./rgb-image.ts";
import { fitToBudget, type ImageSize, type PixelBudget } from "./smart-resize.ts";

/** Pictures less long than this are photos and screens: they are made smaller as the reference does. */
const MIN_ASPECT_RATIO = 2.5;

/** Type of 40 pixels, as phones have it, is still read at half its size. Below this, it is not. */
const READABLE_SCALE = 0.5;

/** Part of a tile that the next one shows again, so that a line at the cut is whole in one of them. */
const OVERLAP = 0.04;

/** Pixels from `start` to `end` of the long side. */
export interface Tile {
  readonly start: number;
  readonly end: number;
}

export interface Tiling {
  /** In order, top to bottom or left to right; one if the picture stays whole. */
  readonly tiles: readonly Tile[];
  readonly vertical: boolean;
  /** Even so, small print is made too small to be read. */
  readonly tooSmall: boolean;
}

/** How a long picture is cut so that each piece, within the budget of a whole picture, can be read. */
export function planTiles(size: ImageSize, budget: PixelBudget, maxTiles: number): Tiling {
  const vertical = size.height >= size.width;
  const [long, short] = vertical ? [size.height, size.width] : [size.width, size.height];
  const whole = { tiles: [{ start: 0, end: long }], vertical };
  const isLong = long > MIN_ASPECT_RATIO * short;
  if (!isLong || scaleOf(size, budget) >= READABLE_SCALE) return { ...whole, tooSmall: false };
  for (let count = 2; count <= maxTiles; count++) {
    const tiles = cut(long, count);
    const piece = tiles[0]!.end;
    const scale = scaleOf({ width: short, height: piece }, budget);
    if (scale >= READABLE_SCALE || count === maxTiles) {
      return { tiles, vertical, tooSmall: scale < READABLE_SCALE };
    }
  }
  return { ...whole, tooSmall: true };
}

function cut(long: number, count: number): Tile[] {
  const overlap = Math.round((long / count) * OVERLAP);
  return Array.from({ length: count }, (_, index) => ({
    start: Math.max(0, Math.round((index * long) / count) - overlap),
    end: Math.min(long, Math.round(((index + 1) * long) / count) + overlap),
  }));
}

function scaleOf(size: ImageSize, budget: PixelBudget): number {
  const fitted = fitToBudget(size, budget);
  return Math.min(fitted.width / size.width, fitted.height / size.height);
}

/** The pixels of one piece; of whole rows, without copying them. */
export function cropTile(
  { width, height, pixels }: RgbImage,
  tile: Tile,
  vertical: boolean,
): RgbImage {
  const { start, end } = tile;
  const rowBytes = width * 3;
  if (vertical) {
    return {
      width,
      height: end - start,
      pixels: pixels.subarray(start * rowBytes, end * rowBytes),
    };
  }
  const tileBytes = (end - start) * 3;
  const columns = new Uint8Array(tileBytes * height);
  for (let row = 0; row < height; row++) {
    const from = row * rowBytes + start * 3;
    columns.set(pixels.subarray(from, from + tileBytes), row * tileBytes);
  }
  return { width: end - start, height, pixels: columns };
}
