// Do two stored tensors hold the same bytes in the same form? Reads both piece by piece, up to the first difference.

import type { Safetensors, StoredTensor } from "./safetensors.ts";

const PIECE_BYTES = 2 * 1024 * 1024;

/** @returns false for tensors of another shape or number format, whatever their values */
export async function sameContent(
  weights: Safetensors,
  a: StoredTensor,
  b: StoredTensor,
): Promise<boolean> {
  if (a.dtype !== b.dtype || a.byteLength !== b.byteLength) return false;
  if (a.shape.some((size, i) => size !== b.shape[i])) return false;
  const pieces = [Buffer.alloc(PIECE_BYTES), Buffer.alloc(PIECE_BYTES)] as const;
  for (let start = 0; start < a.byteLength; start += PIECE_BYTES) {
    const length = Math.min(PIECE_BYTES, a.byteLength - start);
    const [left, right] = [pieces[0].subarray(0, length), pieces[1].subarray(0, length)];
    await Promise.all([weights.read(a, start, left), weights.read(b, start, right)]);
    if (!left.equals(right)) return false;
  }
  return true;
}
