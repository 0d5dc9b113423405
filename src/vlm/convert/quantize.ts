// Weights in fewer bits. In: rows of f32 weights, one row per output channel. Out: int8 rows with one scale each,
// or 4-bit blocks with one scale per block, as MatMulNBits reads them. Knows no files and no graph.

/** Weights per scale in 4-bit rows; the fastest block of ONNX Runtime's CPU kernels. */
export const INT4_BLOCK = 128;
const INT4_ZERO = 8;

/** Blocks of a 4-bit row; the last one is padded with zeros. */
export function int4Blocks(columns: number): number {
  return Math.ceil(columns / INT4_BLOCK);
}

/** Rows of a block that is turned: few enough for the block to stay in the CPU's second-level cache. */
const TURN_ROWS = 32;

/** Where a block of rows goes in a strip of the turned matrix. */
export interface StripPlace {
  /** Row of the block's first row in the whole matrix. */
  readonly firstRow: number;
  /** Rows of the whole matrix: the strip's width. */
  readonly allRows: number;
  /** Columns of the matrix that this strip holds. */
  readonly firstColumn: number;
  readonly endColumn: number;
}

/**
 * Scales of rows that become -127..127: largest magnitude / 127; 0 for a row of zeros.
 *
 * @param weights (rows, columns)
 * @param scales receives `rows` values
 */
export function int8RowScales(
  weights: Float32Array,
  rows: number,
  columns: number,
  scales: Float32Array,
): void {
  for (let row = 0; row < rows; row++) {
    let largest = 0;
    for (let i = row * columns; i < (row + 1) * columns; i++) {
      const magnitude = Math.abs(weights[i] as number);
      if (magnitude > largest) largest = magnitude;
    }
    scales[row] = largest / 127;
  }
}

/**
 * Quantises rows with their scales and turns them: row n becomes column n.
 *
 * @param weights (rows, columns)
 * @param scales (rows)
 * @param strip (columns of the strip, all rows)
 */
export function turnInt8Rows(
  weights: Float32Array,
  rows: number,
  columns: number,
  scales: Float32Array,
  strip: Int8Array,
  place: StripPlace,
): void {
  const inverses = new Float64Array(rows);
  for (let row = 0; row < rows; row++) {
    const scale = scales[row] as number;
    inverses[row] = scale > 0 ? 1 / scale : 0;
  }
  for (let first = 0; first < rows; first += TURN_ROWS) {
    const end = Math.min(first + TURN_ROWS, rows);
    for (let column = place.firstColumn; column < place.endColumn; column++) {
      const target = (column - place.firstColumn) * place.allRows + place.firstRow;
      for (let row = first; row < end; row++) {
        const value = (weights[row * columns + column] as number) * (inverses[row] as number);
        // Adding 128.5 before truncating rounds to nearest, much faster than Math.round.
        const level = ((value + 128.5) | 0) - 128;
        // Only denormal scales, themselves rounded, can lead outside.
        strip[target + row] = Math.min(127, Math.max(-127, level));
      }
    }
  }
}

/**
 * Turns rows: row n becomes column n.
 *
 * @param weights (rows, columns)
 * @param strip (columns of the strip, all rows)
 */
export function turnRows(
  weights: Float32Array,
  rows: number,
  columns: number,
  strip: Float32Array,
  place: StripPlace,
): void {
  for (let first = 0; first < rows; first += TURN_ROWS) {
    const end = Math.min(first + TURN_ROWS, rows);
    for (let column = place.firstColumn; column < place.endColumn; column++) {
      const target = (column - place.firstColumn) * place.allRows + place.firstRow;
      for (let row = first; row < end; row++) {
        strip[target + row] = weights[row * columns + column] as number;
      }
    }
  }
}

/**
 * Quantises whole rows to 4 bits, symmetric around 8, in blocks of `INT4_BLOCK`.
 *
 * The value of largest magnitude becomes -8, so all sixteen levels are used; the scale is then fitted to the
 * chosen levels by least squares.
 *
 * @param weights (rows, columns)
 * @param target (rows, blocks, INT4_BLOCK / 2): two weights a byte, the first in the low half
 * @param scales (rows, blocks)
 */
export function quantizeInt4Rows(
  weights: Float32Array,
  rows: number,
  columns: number,
  target: Uint8Array,
  scales: Float32Array,
): void {
  const blocks = int4Blocks(columns);
  const levels = new Uint8Array(INT4_BLOCK);
  for (let row = 0; row < rows; row++) {
    for (let block = 0; block < blocks; block++) {
      const first = row * columns + block * INT4_BLOCK;
      const count = Math.min(INT4_BLOCK, columns - block * INT4_BLOCK);
      levels.fill(INT4_ZERO);
      const index = row * blocks + block;
      scales[index] = quantizeInt4Block(weights, first, count, levels);
      const byteStart = (index * INT4_BLOCK) / 2;
      for (let i = 0; i < INT4_BLOCK; i += 2) {
        target[byteStart + i / 2] = (levels[i] as number) | ((levels[i + 1] as number) << 4);
      }
    }
  }
}

/** Fills `levels` (0..15) and returns the scale: weight = (level - 8) * scale. */
function quantizeInt4Block(
  weights: Float32Array,
  first: number,
  count: number,
  levels: Uint8Array,
): number {
  let extreme = 0;
  for (let i = first; i < first + count; i++) {
    const weight = weights[i] as number;
    if (Math.abs(weight) > Math.abs(extreme)) extreme = weight;
  }
  const inverse = extreme === 0 ? 0 : -INT4_ZERO / extreme;
  if (!Number.isFinite(inverse)) return 0;
  let products = 0;
  let squares = 0;
  for (let i = 0; i < count; i++) {
    const weight = weights[first + i] as number;
    const level = (weight * inverse + INT4_ZERO + 0.5) | 0;
    const clipped = Math.min(15, level);
    levels[i] = clipped;
    products += weight * (clipped - INT4_ZERO);
    squares += (clipped - INT4_ZERO) ** 2;
  }
  return squares === 0 ? 0 : products / squares;
}
