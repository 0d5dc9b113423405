// Cutting the tokens of a prompt into chunks: positions, and the pictures that reach into each; and whether an input makes
// sense at all. Pure.

import type { DecoderInput } from "./decoder-backend.ts";

/** The tokens from `start` to `end` of an input, as an input of their own. */
export function sliceInput(input: DecoderInput, start: number, end: number): DecoderInput {
  const images = (input.images ?? []).filter(
    (image) => image.start < end && image.start + image.features.tokens > start,
  );
  return {
    ids: input.ids.subarray(start, end),
    positions: slicePositions(input.positions, start, end),
    images: images.map((image) => ({ ...image, start: image.start - start })),
  };
}

/** Columns `start` to `end` of the positions of a prompt, (3, tokens). */
export function slicePositions(positions: Int32Array, start: number, end: number): Int32Array {
  const tokens = positions.length / 3;
  const part = new Int32Array(3 * (end - start)); // (3, end - start)
  for (let axis = 0; axis < 3; axis++) {
    const row = axis * tokens;
    part.set(positions.subarray(row + start, row + end), axis * (end - start));
  }
  return part;
}

/** @throws RangeError when an input makes no sense */
export function checkInput({ ids, positions, images = [] }: DecoderInput): void {
  const tokens = ids.length;
  if (tokens === 0) throw new RangeError("Expected at least one token");
  if (positions.length !== 3 * tokens) {
    throw new RangeError(
      `Expected positions of shape (3, ${tokens}), got ${positions.length} numbers`,
    );
  }
  for (const { start, features } of images) {
    const end = start + features.tokens;
    if (end <= 0 || start >= tokens) {
      throw new RangeError(
        `A picture takes tokens ${start} to ${end}, but there are ${tokens} tokens`,
      );
    }
  }
}
