// How much a product loses when its weights and its input are quantised. In: rows of the input and of the weight.
// Out: the relative error of a typical output channel. Quantises for real, and knows no model.

import { TimeSlice } from "../event-loop/time-slice.ts";
import type { Precision } from "./linear-layers.ts";
import { INT4_BLOCK, int4Blocks, int8RowScales, quantizeInt4Rows } from "./quantize.ts";

/** (rows, columns) */
export interface Matrix {
  readonly values: Float32Array;
  readonly rows: number;
  readonly columns: number;
}

/**
 * Relative root mean square error over output channels, each measured by its own size: a channel that a norm behind
 * it makes large or small counts like any other. The errors of different columns are taken as independent.
 *
 * @param factors by column: the input is divided by them, the weight multiplied
 * @param slice of whoever asks several times in a row
 */
export async function productError(
  input: Matrix,
  weight: Matrix,
  precision: Precision,
  factors: Float64Array = new Float64Array(input.columns).fill(1),
  slice: TimeSlice = new TimeSlice(),
): Promise<number> {
  if (precision === "fp32") return 0;
  const { columns } = weight;
  if (slice.over) await slice.rest();
  const { energy, loss } = inputLoss(input, precision === "q4" ? INT4_BLOCK : columns, factors);
  const row = new Float32Array(columns);
  const rounded = new Float32Array(columns);
  const round = precision === "q4" ? int4Rounding(columns) : roundInt8;
  let sum = 0;
  let count = 0;
  for (let start = 0; start < weight.values.length; start += columns) {
    if (slice.over) await slice.rest();
    for (let column = 0; column < columns; column++) {
      row[column] = (weight.values[start + column] as number) * (factors[column] as number);
    }
    round(row, rounded);
    let signal = 0;
    let error = 0;
    for (let column = 0; column < columns; column++) {
      const value = row[column] as number;
      const off = (rounded[column] as number) - value;
      const size = energy[column] as number;
      signal += value * value * size;
      error += value * value * (loss[column] as number) + off * off * size;
    }
    if (signal === 0) continue;
    sum += Math.min(1, error / signal);
    count++;
  }
  return count === 0 ? 0 : Math.sqrt(sum / count);
}

/** Mean squares of each column and of what int8 leaves out of it, with one scale for each row or part of a row. */
function inputLoss({ values, rows, columns }: Matrix, part: number, factors: Float64Array) {
  const energy = new Float64Array(columns);
  const loss = new Float64Array(columns);
  const inverses = factors.map((factor) => 1 / factor);
  for (let row = 0; row < rows; row++) {
    const start = row * columns;
    for (let first = 0; first < columns; first += part) {
      const end = Math.min(first + part, columns);
      let largest = 0;
      for (let column = first; column < end; column++) {
        const value = (values[start + column] as number) * (inverses[column] as number);
        if (value > largest) largest = value;
        else if (-value > largest) largest = -value;
      }
      const step = largest / 127;
      const inverse = step > 0 ? 1 / step : 0;
      for (let column = first; column < end; column++) {
        const value = (values[start + column] as number) * (inverses[column] as number);
        const off = value - nearest(value * inverse) * step;
        energy[column] = (energy[column] as number) + (value * value) / rows;
        loss[column] = (loss[column] as number) + (off * off) / rows;
      }
    }
  }
  return { energy, loss };
}

/** Of values between -127 and 127; much faster than Math.round. */
function nearest(value: number): number {
  return ((value + 128.5) | 0) - 128;
}

/** Fills `rounded` with one row as int8 gives it back. */
function roundInt8(row: Float32Array, rounded: Float32Array): void {
  const scales = new Float32Array(1);
  int8RowScales(row, 1, row.length, scales);
  const scale = scales[0] as number;
  const inverse = scale > 0 ? 1 / scale : 0;
  for (let i = 0; i < row.length; i++) {
    rounded[i] = nearest((row[i] as number) * inverse) * scale;
  }
}

/** The same for 4 bits. */
function int4Rounding(columns: number): typeof roundInt8 {
  const scales = new Float32Array(int4Blocks(columns));
  const packed = new Uint8Array((scales.length * INT4_BLOCK) / 2);
  return (row, rounded) => {
    quantizeInt4Rows(row, 1, columns, packed, scales);
    for (let i = 0; i < columns; i++) {
      const level = ((packed[i >> 1] as number) >> (i % 2 === 0 ? 0 : 4)) & 15;
      rounded[i] = (level - 8) * (scales[Math.floor(i / INT4_BLOCK)] as number);
    }
  };
}
