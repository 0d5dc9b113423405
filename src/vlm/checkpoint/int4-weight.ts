// 4-bit weights in groups that share a scale and a zero point, as GPTQ, AWQ and compressed-tensors pack them. In: the
// stored parts. Out: rows of f32, or the levels themselves in one layout: row by row, two a byte, the first in the low
// half. One weight is in memory at a time, whole: half a byte for each of its numbers.

import { ModelLoadError } from "../errors.ts";
import type { Safetensors, StoredTensor } from "./safetensors.ts";
import { readAll, type Weight } from "./weight.ts";

/**
 * `gptq`   qweight (K / 8, N), eight columns of a row in a word; qzeros (groups, N / 8), the zero point less one
 * `gptq-v2`                                                      the zero point itself
 * `awq`    qweight (K, N / 8), eight rows of a column in a word, in the order 0 2 4 6 1 3 5 7; qzeros likewise
 * `rows`   compressed-tensors: (N, K / 8), zero points (N / 8, groups)
 */
export type Int4Packing = "gptq" | "gptq-v2" | "awq" | "rows";

export interface Int4Parts {
  readonly levels: StoredTensor;
  readonly scales: StoredTensor;
  /** Left out: every zero point is 8. */
  readonly zeroPoints?: StoredTensor | undefined;
}

export interface Int4Layout {
  readonly packing: Int4Packing;
  /** Who packs like that, for people. */
  readonly method: string;
  readonly rows: number;
  readonly columns: number;
  /** Weights per scale. */
  readonly group: number;
  /** Where groups are of columns that are no neighbours: all columns, group by group. */
  readonly order?: Int32Array | undefined;
  /** The settings promise that every zero point is 8. */
  readonly symmetric: boolean;
}

/** One weight, unpacked. Valid until another is. */
export interface Int4Values {
  /** (rows, columns / 2), columns in `order` */
  readonly levels: Uint8Array;
  /** (rows, groups) */
  readonly scales: Float32Array;
  /** (rows, groups); undefined: all are 8 */
  readonly zeroPoints: Uint8Array | undefined;
}

const WORD_LEVELS = 8;
const MIDDLE = 8;
const ALL_MIDDLE = 0x88888888;
/** Row of each level in a word. */
const IN_ORDER = [0, 1, 2, 3, 4, 5, 6, 7];
const AWQ_ORDER = [0, 2, 4, 6, 1, 3, 5, 7];

/** What was unpacked last; weights of one checkpoint share it. */
export interface Unpacked {
  last?: { readonly weight: Int4Weight; readonly values: Int4Values };
}

export class Int4Weight implements Weight {
  readonly name: string;
  readonly shape: readonly number[];
  readonly dtype = "F32";
  readonly byteLength: number;
  readonly quantized: string;
  readonly layout: Int4Layout;
  readonly #weights: Safetensors;
  readonly #parts: Int4Parts;
  readonly #unpacked: Unpacked;

  constructor(
    weights: Safetensors,
    name: string,
    parts: Int4Parts,
    layout: Int4Layout,
    unpacked: Unpacked,
  ) {
    this.name = name;
    this.shape = [layout.rows, layout.columns];
    this.layout = layout;
    this.quantized = layout.method;
    this.#weights = weights;
    this.#parts = parts;
    this.#unpacked = unpacked;
    const { levels, scales, zeroPoints } = parts;
    this.byteLength = levels.byteLength + scales.byteLength + (zeroPoints?.byteLength ?? 0);
  }

  get int4(): Int4Weight {
    return this;
  }

  /** Are there zero points that are not 8? */
  get hasZeroPoints(): boolean {
    return this.#parts.zeroPoints !== undefined && !this.layout.symmetric;
  }

  get groups(): number {
    return Math.ceil(this.layout.columns / this.layout.group);
  }

  async readRows(firstRow: number, rows: number, target: Float32Array): Promise<void> {
    const { levels, scales, zeroPoints } = await this.read();
    const { columns, group, order } = this.layout;
    const { groups } = this;
    for (let row = 0; row < rows; row++) {
      const from = ((firstRow + row) * columns) / 2;
      const start = row * columns;
      for (let place = 0; place < columns; place++) {
        const index = (firstRow + row) * groups + Math.floor(place / group);
        const byte = levels[from + (place >> 1)] as number;
        const level = place & 1 ? byte >> 4 : byte & 15;
        const zero = zeroPoints === undefined ? MIDDLE : (zeroPoints[index] as number);
        const column = order === undefined ? place : (order[place] as number);
        target[start + column] = (level - zero) * (scales[index] as number);
      }
    }
  }

  /** Unpacks the weight, unless it is the one that was unpacked last. */
  async read(): Promise<Int4Values> {
    const { last } = this.#unpacked;
    if (last?.weight === this) return last.values;
    // The one before may be collected while this one is made.
    delete this.#unpacked.last;
    const values = {
      levels: await this.#readLevels(),
      scales: await this.#readScales(),
      zeroPoints: await this.#readZeroPoints(),
    };
    this.#unpacked.last = { weight: this, values };
    return values;
  }

  async #readLevels(): Promise<Uint8Array> {
    const { rows, columns, packing, order } = this.layout;
    const words = await this.#readWords(this.#parts.levels);
    const rowWords = columns / WORD_LEVELS;
    let turned = words;
    if (packing === "awq") turned = this.#turnAwq(words);
    else if (packing !== "rows") {
      turned = new Uint32Array(words.length);
      for (let k = 0; k < rowWords; k++) {
        for (let n = 0; n < rows; n++) turned[n * rowWords + k] = words[k * rows + n] as number;
      }
    }
    const levels = new Uint8Array(turned.buffer, turned.byteOffset, turned.byteLength);
    return order === undefined ? levels : inOrder(levels, rows, columns, order);
  }

  /** Words of eight rows (K, N / 8) -> bytes of two columns (N, K / 2) */
  #turnAwq(words: Uint32Array): Uint32Array {
    const { rows, columns } = this.layout;
    const turned = new Uint32Array(words.length);
    const bytes = new Uint8Array(turned.buffer);
    const across = rows / WORD_LEVELS;
    for (let k = 0; k < columns; k++) {
      const shift = (k & 1) * 4;
      for (let n = 0; n < across; n++) {
        const word = words[k * across + n] as number;
        for (let i = 0; i < WORD_LEVELS; i++) {
          const row = n * WORD_LEVELS + (AWQ_ORDER[i] as number);
          const at = (row * columns + k) >> 1;
          bytes[at] = (bytes[at] as number) | (((word >>> (4 * i)) & 15) << shift);
        }
      }
    }
    return turned;
  }

  /** -> (rows, groups) */
  async #readScales(): Promise<Float32Array> {
    const stored = await readAll(this.#weights, this.#parts.scales);
    if (this.layout.packing === "rows") return stored;
    const { rows } = this.layout;
    const scales = new Float32Array(stored.length);
    for (let group = 0; group < this.groups; group++) {
      for (let row = 0; row < rows; row++) {
        scales[row * this.groups + group] = stored[group * rows + row] as number;
      }
    }
    return scales;
  }

  /** -> (rows, groups) */
  async #readZeroPoints(): Promise<Uint8Array | undefined> {
    const { packing, rows, symmetric } = this.layout;
    const stored = this.#parts.zeroPoints;
    if (stored === undefined) return undefined;
    const words = await this.#readWords(stored);
    const order = packing === "awq" ? AWQ_ORDER : IN_ORDER;
    const offset = packing === "gptq" ? 1 : 0;
    if (symmetric) {
      const middle = offset === 1 ? 0x77777777 : ALL_MIDDLE;
      if (words.every((word) => word === middle)) return undefined;
      throw this.#corrupt(
        "its settings say that it is symmetric, and its zero points are not all in the middle",
      );
    }
    const { groups } = this;
    const zeroPoints = new Uint8Array(rows * groups);
    for (const [index, word] of words.entries()) {
      // (groups, N / 8), or (N / 8, groups) of rows
      const across = rows / WORD_LEVELS;
      const inRows = packing === "rows";
      const group = inRows ? index % groups : Math.floor(index / across);
      const first = (inRows ? Math.floor(index / groups) : index % across) * WORD_LEVELS;
      for (let i = 0; i < WORD_LEVELS; i++) {
        const row = first + (order[i] as number);
        const zero = ((word >>> (4 * i)) & 15) + offset;
        // Some readers take it for 16, some for 0, and some carry into the next.
        if (zero > 15)
          throw this.#corrupt("a zero point of it is stored in a way that has two meanings");
        if (row < rows) zeroPoints[row * groups + group] = zero;
      }
    }
    return zeroPoints;
  }

  async #readWords(tensor: StoredTensor): Promise<Uint32Array> {
    const words = new Uint32Array(tensor.byteLength / 4);
    await this.#weights.read(tensor, 0, new Uint8Array(words.buffer));
    return words;
  }

  #corrupt(what: string): ModelLoadError {
    return new ModelLoadError(
      "model-corrupt",
      `The 4-bit weight ${this.name} cannot be trusted: ${what}. Quantise it again with a current version ` +
        "(checkpoint_format gptq_v2), or use the bf16 checkpoint.",
    );
  }
}

/** @param levels (rows, columns / 2) in the order of columns */
function inOrder(levels: Uint8Array, rows: number, columns: number, order: Int32Array): Uint8Array {
  const sorted = new Uint8Array(levels.length);
  for (let row = 0; row < rows; row++) {
    const start = row * columns;
    for (let place = 0; place < columns; place++) {
      const from = start + (order[place] as number);
      const byte = levels[from >> 1] as number;
      const level = from & 1 ? byte >> 4 : byte & 15;
      const at = (start + place) >> 1;
      sorted[at] = (sorted[at] as number) | (level << ((place & 1) * 4));
    }
  }
  return sorted;
}
