// Weights in fewer bits. In: rows of f32 weights, one row per output channel. Out: int8 rows with one scale each,
// or 4-bit blocks with one scale per block, as MatMulNBits reads them. Knows no files and no graph.

/** Weights per scale in 4-bit rows; the fastest block of ONNX Runtime's CPU kernels. */
export const INT4_BLOCK = 128;
/** Weights per scale in rows for graphics cards: more exact, and what their kernels are made for. */
export const DEVICE_BLOCK = 32;
const INT4_ZERO = 8;
const INT8_ZERO = 128;

/** Blocks of a row; the last one is padded with zeros. */
export function int4Blocks(columns: number, block: number = INT4_BLOCK): number {
  return Math.ceil(columns / block);
}

/** Rows of a block that is turned: few enough for the block to stay in the CPU's second-level cache. */
const TURN_ROWS = 64;

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

/** What two neighbours of a paired row come to at most: 255 * 128 still fits into 16 bits. */
const PAIR_LEVELS = 128;
/** Scales that are tried for a paired row, as parts of the ordinary one: at the last, nothing has to be cut. */
const PAIRED_STEPS = [1, 1.1, 1.2, 1.3, 1.4, 1.6, 127 / 64];

/**
 * Scales of rows that become -127..127: largest magnitude / 127; 0 for a row of zeros.
 *
 * @param weights (rows, columns)
 * @param scales receives `rows` values
 * @param paired the rows will be cut so that no two neighbours (2k, 2k + 1) exceed 128; where that would cost more than
 *   coarser levels, the scale is larger
 */
export function int8RowScales(
  weights: Float32Array,
  rows: number,
  columns: number,
  scales: Float32Array,
  paired = false,
): void {
  for (let row = 0; row < rows; row++) {
    let largest = 0;
    for (let i = row * columns; i < (row + 1) * columns; i++) {
      const magnitude = Math.abs(weights[i] as number);
      if (magnitude > largest) largest = magnitude;
    }
    const scale = largest / 127;
    scales[row] = paired ? pairedScale(weights, row * columns, columns, scale) : scale;
  }
}

/** The scale with the least squared error: of rounding, and of what is cut from pairs that are too large. */
function pairedScale(weights: Float32Array, start: number, columns: number, scale: number): number {
  const cut = new Float64Array(PAIRED_STEPS.length);
  const least = PAIR_LEVELS * scale;
  for (let i = start; i + 1 < start + columns; i += 2) {
    const pair = Math.abs(weights[i] as number) + Math.abs(weights[i + 1] as number);
    for (let step = 0; pair > least * (PAIRED_STEPS[step] as number); step++) {
      const excess = pair - least * (PAIRED_STEPS[step] as number);
      cut[step] = (cut[step] as number) + (excess * excess) / 2;
    }
  }
  let best = scale;
  let bestError = Number.POSITIVE_INFINITY;
  for (const [step, factor] of PAIRED_STEPS.entries()) {
    const level = scale * factor;
    const error = (cut[step] as number) + (columns * level * level) / 12;
    if (error < bestError) [best, bestError] = [level, error];
  }
  return best;
}

/**
 * Quantises rows with their scales and turns them: row n becomes column n.
 *
 * @param weights (rows, columns)
 * @param scales (rows)
 * @param strip (columns of the strip, all rows): levels plus zero point, as bytes
 * @param zeroPoint 0 for signed bytes, 128 for unsigned ones
 * @param paired neighbours that exceed 128 together both give up half of the excess
 */
export function turnInt8Rows(
  weights: Float32Array,
  rows: number,
  columns: number,
  scales: Float32Array,
  strip: Uint8Array,
  place: StripPlace,
  zeroPoint: number,
  paired = false,
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
      const neighbour = (column ^ 1) < columns && paired ? (column ^ 1) - column : 0;
      for (let row = first; row < end; row++) {
        const at = row * columns + column;
        const inverse = inverses[row] as number;
        let level = nearestLevel((weights[at] as number) * inverse);
        if (neighbour !== 0) {
          const other = nearestLevel((weights[at + neighbour] as number) * inverse);
          level = cutLevel(level, other, neighbour > 0);
        }
        strip[target + row] = level + zeroPoint;
      }
    }
  }
}

/** Adding 128.5 before truncating rounds to nearest, much faster than Math.round. */
function nearestLevel(value: number): number {
  const level = ((value + 128.5) | 0) - 128;
  // Only denormal scales, themselves rounded, can lead outside.
  return Math.min(127, Math.max(-127, level));
}

/** What is left of a level beside its neighbour; of an odd excess, the first of the two gives up more. */
function cutLevel(level: number, other: number, isFirst: boolean): number {
  const excess = Math.abs(level) + Math.abs(other) - PAIR_LEVELS;
  if (excess <= 0) return level;
  const less = isFirst ? (excess + 1) >> 1 : excess >> 1;
  return level < 0 ? level + less : level - less;
}

/**
 * Turns rows: row n becomes column n.
 *
 * @param weights (rows, columns)
 * @param strip (columns of the strip, all rows)
 */
export function turnRows(
  weights: Float32Array | Uint16Array,
  rows: number,
  columns: number,
  strip: Float32Array | Uint16Array,
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
 * Quantises whole rows to 8 bits, symmetric around 128, in blocks.
 *
 * @param weights (rows, columns)
 * @param target (rows, blocks, block)
 * @param scales (rows, blocks)
 */
export function quantizeInt8Blocks(
  weights: Float32Array,
  rows: number,
  columns: number,
  target: Uint8Array,
  scales: Float32Array,
  block: number,
): void {
  const blocks = int4Blocks(columns, block);
  target.fill(INT8_ZERO);
  for (let row = 0; row < rows; row++) {
    for (let index = 0; index < blocks; index++) {
      const first = row * columns + index * block;
      const end = Math.min(first + block, (row + 1) * columns);
      let largest = 0;
      for (let i = first; i < end; i++) {
        largest = Math.max(largest, Math.abs(weights[i] as number));
      }
      const scale = largest / 127;
      scales[row * blocks + index] = scale;
      if (scale === 0) continue;
      const start = (row * blocks + index) * block - first;
      for (let i = first; i < end; i++) {
        // Truncation of what is above zero rounds to nearest.
        target[start + i] = ((weights[i] as number) / scale + (INT8_ZERO + 0.5)) | 0;
      }
    }
  }
}

/**
 * Quantises whole rows to 4 bits, symmetric around 8, in blocks.
 *
 * @param weights (rows, columns)
 * @param target (rows, blocks, block / 2): two weights a byte, the first in the low half
 * @param scales (rows, blocks)
 */
export function quantizeInt4Rows(
  weights: Float32Array,
  rows: number,
  columns: number,
  target: Uint8Array,
  scales: Float32Array,
  blockSize: number = INT4_BLOCK,
): void {
  const blocks = int4Blocks(columns, blockSize);
  const search = new Int4BlockSearch(blockSize);
  for (let row = 0; row < rows; row++) {
    for (let block = 0; block < blocks; block++) {
      const first = row * columns + block * blockSize;
      const count = Math.min(blockSize, columns - block * blockSize);
      const index = row * blocks + block;
      scales[index] = search.fit(weights, first, count);
      const byteStart = (index * blockSize) / 2;
      for (let i = 0; i < blockSize; i += 2) {
        const [low, high] = [search.levels[i] as number, search.levels[i + 1] as number];
        target[byteStart + i / 2] = low | (high << 4);
      }
    }
  }
}

/**
 * Where the weight of largest magnitude would come to lie: at the last level, -8, or up to two levels outside,
 * where it is clipped and all others get finer steps. The best of three leaves 5 % less error than the first alone.
 */
const INT4_REACHES = [8, 9, 10];

/** Finds levels and scale of one block with the least squared error. */
class Int4BlockSearch {
  /** 0..15, 8 standing for zero; entries past the block's end stay 8. */
  levels: Uint8Array<ArrayBuffer>;
  #candidate: Uint8Array<ArrayBuffer>;

  constructor(block: number) {
    this.levels = new Uint8Array(block);
    this.#candidate = new Uint8Array(block);
  }

  /** Fills `levels` and returns the scale: weight = (level - 8) * scale. */
  fit(weights: Float32Array, first: number, count: number): number {
    let extreme = 0;
    for (let i = first; i < first + count; i++) {
      const weight = weights[i] as number;
      if (Math.abs(weight) > Math.abs(extreme)) extreme = weight;
    }
    this.levels.fill(INT4_ZERO);
    let best = 0;
    let scale = 0;
    for (const reach of INT4_REACHES) {
      const inverse = -reach / extreme;
      // A block of zeros, or of numbers so small that they are zero to every consumer.
      if (!Number.isFinite(inverse)) break;
      this.#candidate.fill(INT4_ZERO);
      let products = 0;
      let squares = 0;
      for (let i = 0; i < count; i++) {
        const weight = weights[first + i] as number;
        // Truncation rounds to nearest above zero; below it the level is clipped to zero anyway.
        const level = Math.min(15, Math.max(0, (weight * inverse + (INT4_ZERO + 0.5)) | 0));
        this.#candidate[i] = level;
        products += weight * (level - INT4_ZERO);
        squares += (level - INT4_ZERO) ** 2;
      }
      // With the least-squares scale products / squares, this much of the block's energy is explained.
      const explained = (products * products) / squares;
      if (explained > best) {
        best = explained;
        scale = products / squares;
        [this.levels, this.#candidate] = [this.#candidate, this.levels];
      }
    }
    return scale;
  }
}
