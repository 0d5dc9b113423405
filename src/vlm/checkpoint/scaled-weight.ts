// Weights of one byte each with scales: FP8 in blocks as the Qwen team publishes it, FP8 and int8 by row or with one
// scale as others do. In: the bytes and the scales. Out: rows of f32, exact but for the last rounding of a product.
// What activations would be rounded to is of no concern: they are not.

import type { Safetensors, StoredTensor } from "./safetensors.ts";
import { notFinite, readAll, type Weight } from "./weight.ts";

export const BYTE_DTYPES = ["F8_E4M3", "F8_E5M2", "I8"] as const;
export type ByteDtype = (typeof BYTE_DTYPES)[number];

/** Rows and columns that share a scale. */
export interface ScaleBlock {
  readonly rows: number;
  readonly columns: number;
}

export class ScaledWeight implements Weight {
  readonly name: string;
  readonly shape: readonly number[];
  readonly dtype = "F32";
  readonly byteLength: number;
  readonly quantized: string;
  readonly #weights: Safetensors;
  readonly #levels: StoredTensor;
  readonly #scales: StoredTensor;
  readonly #block: ScaleBlock;
  readonly #columns: number;
  /** Read once: a thousandth of the weight, or less. */
  #scaleValues: Float32Array | undefined;

  /** @param scales one for each block, row by row */
  constructor(
    weights: Safetensors,
    levels: StoredTensor & { readonly dtype: string },
    scales: StoredTensor,
    block: ScaleBlock,
  ) {
    this.name = levels.name;
    this.shape = levels.shape;
    this.byteLength = levels.byteLength + scales.byteLength;
    this.quantized = levels.dtype === "I8" ? "int8" : "FP8";
    this.#weights = weights;
    this.#levels = levels;
    this.#scales = scales;
    this.#block = block;
    this.#columns = levels.shape[1] ?? 1;
  }

  get parts(): readonly StoredTensor[] {
    return [this.#levels, this.#scales];
  }

  async readRows(firstRow: number, rows: number, target: Float32Array): Promise<void> {
    this.#scaleValues ??= await readAll(this.#weights, this.#scales);
    const scales = this.#scaleValues;
    const columns = this.#columns;
    const bytes = new Uint8Array(rows * columns);
    await this.#weights.read(this.#levels, firstRow * columns, bytes);
    const table = byteValues(this.#levels.dtype as ByteDtype);
    const { rows: blockRows, columns: blockColumns } = this.#block;
    const blocks = Math.ceil(columns / blockColumns);
    let finite = true;
    for (let row = 0; row < rows; row++) {
      const scaleRow = Math.floor((firstRow + row) / blockRows) * blocks;
      for (let block = 0; block < blocks; block++) {
        const scale = scales[scaleRow + block] as number;
        const end = row * columns + Math.min(columns, (block + 1) * blockColumns);
        for (let i = row * columns + block * blockColumns; i < end; i++) {
          const value = (table[bytes[i] as number] as number) * scale;
          if (!Number.isFinite(value)) finite = false;
          target[i] = value;
        }
      }
    }
    if (!finite) throw notFinite(this.name);
  }
}

const tables = new Map<ByteDtype, Float32Array>();

/** The 256 values of a format, infinite and NaN included. */
function byteValues(dtype: ByteDtype): Float32Array {
  let table = tables.get(dtype);
  if (table === undefined) {
    table = Float32Array.from({ length: 256 }, (_, byte) => byteValue(byte, dtype));
    tables.set(dtype, table);
  }
  return table;
}

function byteValue(byte: number, dtype: ByteDtype): number {
  if (dtype === "I8") return (byte << 24) >> 24;
  const sign = byte & 0x80 ? -1 : 1;
  const mantissaBits = dtype === "F8_E4M3" ? 3 : 2;
  const bias = dtype === "F8_E4M3" ? 7 : 15;
  const exponent = (byte & 0x7f) >> mantissaBits;
  const fraction = (byte & ((1 << mantissaBits) - 1)) / (1 << mantissaBits);
  // E4M3 has no infinity, and one NaN of each sign; E5M2 is as IEEE has it.
  if (dtype === "F8_E4M3" && (byte & 0x7f) === 0x7f) return Number.NaN;
  if (dtype === "F8_E5M2" && exponent === 31) {
    return fraction === 0 ? sign * Number.POSITIVE_INFINITY : Number.NaN;
  }
  return exponent === 0
    ? sign * fraction * 2 ** (1 - bias)
    : sign * (1 + fraction) * 2 ** (exponent - bias);
}
