// Weights of one byte each with scales: FP8 in blocks as the Qwen team publishes it, FP8 and int8 by row, by group or with
// one scale as others do. In: the bytes, the scales, zero points of int8. Out: rows of f32, exact but for the last rounding
// of a product. In memory are the scales of one weight at a time. What activations would be rounded to is of no concern:
// they are not.

import type { Safetensors, StoredTensor } from "./safetensors.ts";
import { notFinite, readAll, type Weight } from "./weight.ts";

export const BYTE_DTYPES = ["F8_E4M3", "F8_E5M2", "I8"] as const;
/** How a byte is read; `I8+128` is packed into words, four of a row in each. */
export type ByteFormat = (typeof BYTE_DTYPES)[number] | "I8+128";

/** Rows and columns that share a scale. */
export interface ScaleBlock {
  readonly rows: number;
  readonly columns: number;
}

export interface ScaledParts {
  readonly levels: StoredTensor;
  /** One for each block, row by row. */
  readonly scales: StoredTensor;
  /** The same of int8 levels; of packed ones four rows of a block column in a word. Left out: all are 0. */
  readonly zeroPoints?: StoredTensor | undefined;
}

export interface ScaledLayout {
  readonly rows: number;
  readonly columns: number;
  readonly format: ByteFormat;
  readonly block: ScaleBlock;
}

/** Of all blocks, row by row. */
interface BlockValues {
  readonly scales: Float32Array;
  /** Undefined: all are 0. */
  readonly zeroPoints: Float32Array | undefined;
}

/** The blocks that were read last; weights of one checkpoint share it, as those of small groups are large. */
export interface LastBlocks {
  of?: { readonly weight: ScaledWeight; readonly values: BlockValues };
}

export class ScaledWeight implements Weight {
  readonly name: string;
  readonly shape: readonly number[];
  readonly dtype = "F32";
  readonly byteLength: number;
  readonly quantized: string;
  readonly #weights: Safetensors;
  readonly #parts: ScaledParts;
  readonly #layout: ScaledLayout;
  readonly #last: LastBlocks;

  /** @param name `….weight` */
  constructor(
    weights: Safetensors,
    name: string,
    parts: ScaledParts,
    layout: ScaledLayout,
    last: LastBlocks,
  ) {
    this.name = name;
    this.shape = [layout.rows, layout.columns];
    this.byteLength = [...partsOf(parts)].reduce((sum, part) => sum + part.byteLength, 0);
    this.quantized = layout.format.startsWith("I8") ? "int8" : "FP8";
    this.#weights = weights;
    this.#parts = parts;
    this.#layout = layout;
    this.#last = last;
  }

  get parts(): readonly StoredTensor[] {
    return partsOf(this.#parts);
  }

  async readRows(firstRow: number, rows: number, target: Float32Array): Promise<void> {
    const { scales, zeroPoints } = await this.#blocks();
    const { columns, format, block } = this.#layout;
    const bytes = new Uint8Array(rows * columns);
    await this.#weights.read(this.#parts.levels, firstRow * columns, bytes);
    const table = byteValues(format);
    const across = Math.ceil(columns / block.columns);
    let finite = true;
    for (let row = 0; row < rows; row++) {
      const first = Math.floor((firstRow + row) / block.rows) * across;
      for (let k = 0; k < across; k++) {
        const scale = scales[first + k] as number;
        const zero = zeroPoints === undefined ? 0 : (zeroPoints[first + k] as number);
        const end = row * columns + Math.min(columns, (k + 1) * block.columns);
        for (let i = row * columns + k * block.columns; i < end; i++) {
          const value = ((table[bytes[i] as number] as number) - zero) * scale;
          if (!Number.isFinite(value)) finite = false;
          target[i] = value;
        }
      }
    }
    if (!finite) throw notFinite(this.name);
  }

  async #blocks(): Promise<BlockValues> {
    if (this.#last.of?.weight === this) return this.#last.of.values;
    // Those of the weight before may be collected while these are read.
    delete this.#last.of;
    const scales = await this.#readScales();
    const values = { scales, zeroPoints: await this.#readZeroPoints(scales.length) };
    this.#last.of = { weight: this, values };
    return values;
  }

  async #readZeroPoints(count: number): Promise<Float32Array | undefined> {
    const stored = this.#parts.zeroPoints;
    if (stored === undefined) return undefined;
    const bytes = new Uint8Array(stored.byteLength);
    await this.#weights.read(stored, 0, bytes);
    const { rows, columns, format, block } = this.#layout;
    const table = byteValues(format);
    const across = Math.ceil(columns / block.columns);
    const perWord = format === "I8+128" ? 4 : 1;
    const zeroPoints = new Float32Array(count);
    for (let down = 0; down < Math.ceil(rows / block.rows); down++) {
      const [word, place] = [Math.floor(down / perWord), down % perWord];
      for (let k = 0; k < across; k++) {
        const byte = bytes[(word * across + k) * perWord + place] as number;
        zeroPoints[down * across + k] = table[byte] as number;
      }
    }
    return zeroPoints;
  }

  async #readScales(): Promise<Float32Array> {
    const stored = this.#parts.scales;
    if (stored.dtype !== "F8_E8M0") return readAll(this.#weights, stored);
    // A byte is an exponent; 255 is no number.
    const bytes = new Uint8Array(stored.byteLength);
    await this.#weights.read(stored, 0, bytes);
    if (bytes.includes(255)) throw notFinite(stored.name);
    return Float32Array.from(bytes, (exponent) => 2 ** (exponent - 127));
  }
}

function partsOf({ levels, scales, zeroPoints }: ScaledParts): readonly StoredTensor[] {
  return zeroPoints === undefined ? [levels, scales] : [levels, scales, zeroPoints];
}

const tables = new Map<ByteFormat, Float32Array>();

/** The 256 values of a format, infinite and NaN included. */
function byteValues(format: ByteFormat): Float32Array {
  let table = tables.get(format);
  if (table === undefined) {
    table = Float32Array.from({ length: 256 }, (_, byte) => byteValue(byte, format));
    tables.set(format, table);
  }
  return table;
}

function byteValue(byte: number, format: ByteFormat): number {
  if (format === "I8") return (byte << 24) >> 24;
  if (format === "I8+128") return byte - 128;
  const sign = byte & 0x80 ? -1 : 1;
  const mantissaBits = format === "F8_E4M3" ? 3 : 2;
  const bias = format === "F8_E4M3" ? 7 : 15;
  const exponent = (byte & 0x7f) >> mantissaBits;
  const fraction = (byte & ((1 << mantissaBits) - 1)) / (1 << mantissaBits);
  // E4M3 has no infinity, and one NaN of each sign; E5M2 is as IEEE has it.
  if (format === "F8_E4M3" && (byte & 0x7f) === 0x7f) return Number.NaN;
  if (format === "F8_E5M2" && exponent === 31) {
    return fraction === 0 ? sign * Number.POSITIVE_INFINITY : Number.NaN;
  }
  return exponent === 0
    ? sign * fraction * 2 ** (1 - bias)
    : sign * (1 + fraction) * 2 ** (exponent - bias);
}
