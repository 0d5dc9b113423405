// Pixels to the matrix the vision encoder reads: normalised, one row per patch, merge block by merge block.
// In: a picture whose sides are multiples of the merge block. Out: fp32. It knows nothing of files or of caches.

import type { TimeSlice } from "../event-loop/time-slice.ts";
import type { RgbImage } from "./rgb-image.ts";

/** How a checkpoint wants its patches. */
export interface PatchLayout {
  readonly patchSize: number;
  /** Frames per patch; the one frame of a still picture is repeated. */
  readonly temporalPatchSize: number;
  /** A block of mergeSize x mergeSize patches becomes one token; its patches are consecutive rows. */
  readonly mergeSize: number;
  readonly imageMean: readonly [number, number, number];
  readonly imageStd: readonly [number, number, number];
}

/**
 * Normalises a picture and cuts it into patches.
 *
 * @returns (patches, 3 * temporalPatchSize * patchSize * patchSize): columns are channel, frame, y, x, the first slowest.
 * @throws the reason of the slice's signal.
 */
export async function patchify(
  image: RgbImage,
  layout: PatchLayout,
  slice: TimeSlice,
): Promise<Float32Array> {
  const { patchSize, temporalPatchSize, mergeSize } = layout;
  const gridHeight = image.height / patchSize;
  const gridWidth = image.width / patchSize;
  const columns = 3 * temporalPatchSize * patchSize ** 2;
  const levels = normalizedLevels(layout); // (3, 256)
  const patches = new Float32Array(gridHeight * gridWidth * columns); // (patches, columns)
  let start = 0;
  for (let blockRow = 0; blockRow < gridHeight; blockRow += mergeSize) {
    for (let blockColumn = 0; blockColumn < gridWidth; blockColumn += mergeSize) {
      if (slice.over) await slice.rest();
      for (let row = blockRow; row < blockRow + mergeSize; row++) {
        for (let column = blockColumn; column < blockColumn + mergeSize; column++) {
          const from = (row * patchSize * image.width + column * patchSize) * 3;
          writePatch(image, from, patchSize, levels, patches, start, temporalPatchSize);
          start += columns;
        }
      }
    }
  }
  return patches;
}

function writePatch(
  { pixels, width }: RgbImage,
  from: number,
  patchSize: number,
  levels: Float32Array,
  patches: Float32Array,
  start: number,
  frames: number,
): void {
  const area = patchSize ** 2;
  for (let channel = 0; channel < 3; channel++) {
    let to = start + channel * frames * area;
    for (let y = 0; y < patchSize; y++) {
      let pixel = from + y * width * 3 + channel;
      for (let x = 0; x < patchSize; x++, pixel += 3) {
        patches[to++] = levels[channel * 256 + pixels[pixel]!]!;
      }
    }
    for (let frame = 1; frame < frames; frame++, to += area) {
      patches.copyWithin(to, to - area, to);
    }
  }
}

/** All 256 values of each channel as the reference's fast processor makes them, each operation in fp32. */
function normalizedLevels({ imageMean, imageStd }: PatchLayout): Float32Array {
  const levels = new Float32Array(3 * 256);
  for (let channel = 0; channel < 3; channel++) {
    const mean = Math.fround(Math.fround(imageMean[channel]!) * 255);
    const std = Math.fround(Math.fround(imageStd[channel]!) * 255);
    for (let level = 0; level < 256; level++) {
      levels[channel * 256 + level] = Math.fround(level - mean) / std;
    }
  }
  return levels;
}
