// Rotary angles of the text decoder (interleaved M-RoPE) and of the vision encoder (2-D).
// In: positions. Out: cos and sin tables as the graphs want them. It knows nothing of tokens, sessions or weights.
// All angles are fp32 products of fp32 frequencies, as the reference has them: an fp64 angle is a different model.

import { mergeBlockOrder } from "./merge-block-order.ts";

/** What the decoder's rotary angles depend on; `Qwen3VlConfig["text"]` has it. */
export interface MropeConfig {
  readonly headSize: number;
  readonly ropeTheta: number;
  /** How many frequencies follow time, height and width. */
  readonly mropeSection: readonly [number, number, number];
}

/** What the vision encoder's rotary angles depend on; `Qwen3VlConfig["vision"]` has it. */
export interface VisionRotaryConfig {
  readonly headSize: number;
  readonly mergeSize: number;
  readonly ropeTheta: number;
}

/** Cosines and sines of one set of angles, both of the same shape. */
export interface CosSin {
  readonly cos: Float32Array;
  readonly sin: Float32Array;
}

/**
 * Which position drives frequency `j`: 0 time, 1 height, 2 width.
 *
 * Interleaved: height and width take every third frequency up to three times their section, time takes the rest.
 */
export function mropeAxis(j: number, section: readonly [number, number, number]): 0 | 1 | 2 {
  if (j % 3 === 1 && j < 3 * section[1]) return 1;
  if (j % 3 === 2 && j < 3 * section[2]) return 2;
  return 0;
}

/**
 * Rotary tables of the decoder.
 *
 * @param positions (3, S): time, height and width of each token.
 * @returns cos and sin, (S, headSize / 2) each.
 */
export function mropeCosSin(positions: Int32Array, config: MropeConfig): CosSin {
  if (positions.length % 3 !== 0) {
    throw new RangeError(`Expected positions of shape (3, S), got ${positions.length} numbers`);
  }
  const tokens = positions.length / 3;
  const half = config.headSize / 2;
  const frequencies = inverseFrequencies(half, config.ropeTheta); // (half)
  const cos = new Float32Array(tokens * half); // (S, half)
  const sin = new Float32Array(tokens * half); // (S, half)
  for (let j = 0; j < half; j++) {
    const axis = mropeAxis(j, config.mropeSection) * tokens;
    const frequency = frequencies[j]!;
    for (let token = 0; token < tokens; token++) {
      const angle = Math.fround(frequency * positions[axis + token]!);
      cos[token * half + j] = Math.cos(angle);
      sin[token * half + j] = Math.sin(angle);
    }
  }
  return { cos, sin };
}

/**
 * Rotary tables of one picture: the first quarter of a head turns with the row, the second with the column.
 *
 * @param gridHeight Rows of patches; `gridWidth` columns. Multiples of the merge size.
 * @returns cos and sin, (N, headSize / 2) each, patches in merge-block order.
 */
export function visionCosSin(
  gridHeight: number,
  gridWidth: number,
  config: VisionRotaryConfig,
): CosSin {
  const { rows, columns } = mergeBlockOrder(gridHeight, gridWidth, config.mergeSize);
  const half = config.headSize / 2;
  const quarter = half / 2;
  const line = lineCosSin(Math.max(gridHeight, gridWidth), quarter, config.ropeTheta);
  const cos = new Float32Array(rows.length * half); // (N, half)
  const sin = new Float32Array(rows.length * half); // (N, half)
  for (let patch = 0; patch < rows.length; patch++) {
    const [row, column, to] = [rows[patch]! * quarter, columns[patch]! * quarter, patch * half];
    for (let j = 0; j < quarter; j++) {
      cos[to + j] = line.cos[row + j]!;
      sin[to + j] = line.sin[row + j]!;
      cos[to + quarter + j] = line.cos[column + j]!;
      sin[to + quarter + j] = line.sin[column + j]!;
    }
  }
  return { cos, sin };
}

/** Of each position on one axis, (positions, count) each: thousands of patches share few rows and columns. */
function lineCosSin(positions: number, count: number, theta: number): CosSin {
  const frequencies = inverseFrequencies(count, theta); // (count)
  const cos = new Float32Array(positions * count);
  const sin = new Float32Array(positions * count);
  for (let position = 0; position < positions; position++) {
    for (let j = 0; j < count; j++) {
      const angle = Math.fround(frequencies[j]! * position);
      cos[position * count + j] = Math.cos(angle);
      sin[position * count + j] = Math.sin(angle);
    }
  }
  return { cos, sin };
}

/** `theta^(-j / count)` for j = 0 … count-1, each step rounded to fp32 as the reference does. */
function inverseFrequencies(count: number, theta: number): Float32Array {
  return Float32Array.from({ length: count }, (_, j) => {
    const power = Math.fround(theta ** Math.fround(j / count));
    return 1 / power;
  });
}
