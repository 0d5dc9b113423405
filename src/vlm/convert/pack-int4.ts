// Stored 4-bit levels in the layout of MatMulNBits. In: levels, scales and zero points of groups. Out: the same for
// blocks that divide the groups; no level changes. Knows no files and no graph.

import type { Int4Layout, Int4Values } from "../checkpoint/int4-weight.ts";

const MIDDLE = 8;

export interface PackedInt4 {
  /** (rows, blocks, block / 2) */
  readonly levels: Uint8Array;
  /** (rows, blocks) */
  readonly scales: Float32Array;
  /** (rows, blocks / 2 rounded up), two a byte, the first in the low half */
  readonly zeroPoints: Uint8Array;
}

export function packInt4(
  { rows, columns, group }: Int4Layout,
  values: Int4Values,
  block: number,
): PackedInt4 {
  const blocks = Math.ceil(columns / block);
  const groups = Math.ceil(columns / group);
  const scales = new Float32Array(rows * blocks);
  const zeroPoints = new Uint8Array(rows * Math.ceil(blocks / 2));
  const zeroBytes = Math.ceil(blocks / 2);
  for (let row = 0; row < rows; row++) {
    for (let index = 0; index < blocks; index++) {
      const from = row * groups + Math.floor((index * block) / group);
      scales[row * blocks + index] = values.scales[from] as number;
      const zero = values.zeroPoints === undefined ? MIDDLE : (values.zeroPoints[from] as number);
      const at = row * zeroBytes + (index >> 1);
      zeroPoints[at] = (zeroPoints[at] as number) | (zero << ((index & 1) * 4));
    }
  }
  const levels =
    columns % block === 0
      ? values.levels
      : padded(values.levels, rows, columns / 2, blocks * block);
  return { levels, scales, zeroPoints };
}

/** Whatever stands beyond the last column is multiplied with nothing. */
function padded(levels: Uint8Array, rows: number, rowBytes: number, columns: number): Uint8Array {
  const result = new Uint8Array((rows * columns) / 2);
  for (let row = 0; row < rows; row++) {
    const start = (row * columns) / 2;
    result.set(levels.subarray(row * rowBytes, (row + 1) * rowBytes), start);
  }
  return result;
}
