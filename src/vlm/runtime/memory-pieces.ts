// Pieces of memory that lie at equal distances, and how they are copied. It knows addresses, and not what lies there.

import { type Handle, loadOrt, offHeap } from "./ort.ts";

/** Pieces of a value's memory that lie at equal distances, such as the same tokens of every head. All in bytes. */
export interface Pieces {
  /** Where the first one begins. */
  readonly first: number;
  /** From the beginning of one to that of the next. */
  readonly stride: number;
  readonly count: number;
  readonly byteLength: number;
}

/** Where pieces lie in memory. */
export interface Place {
  readonly address: Handle;
  /** Bytes from the beginning of one piece to that of the next. */
  readonly stride: number;
}

/**
 * Memory to memory, never through arrays of JavaScript: the garbage collector counts every byte that it sees an array of,
 * and gigabytes of keys and values would keep it at work.
 */
export function copyPieces({ count, byteLength }: Pieces, to: Place, from: Place): void {
  const ort = loadOrt();
  for (let piece = 0; piece < count; piece++) {
    const target = to.address + BigInt(piece * to.stride);
    ort.copy(target, from.address + BigInt(piece * from.stride), byteLength);
  }
}

/**
 * Where pieces lie in an array, from byte `offset` on.
 *
 * @throws RangeError when one of them leaves the array.
 */
export function placeIn(
  bytes: Uint8Array,
  offset: number,
  stride: number,
  { count, byteLength }: Pieces,
): Place {
  const end = offset + Math.max(count - 1, 0) * stride + byteLength;
  if (offset < 0 || stride < 0 || end > bytes.byteLength) {
    throw new RangeError(`Expected pieces of ${bytes.byteLength} bytes, got ${offset} to ${end}`);
  }
  return { address: loadOrt().address(offHeap(bytes)) + BigInt(offset), stride };
}
