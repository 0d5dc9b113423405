// A weight with a LoRA merged into it, row by row: W + s B A, and with DoRA each row brought to the length that was
// trained for it. In: a base weight and the two small matrices. Out: rows of f32. Memory: the matrices of one weight.

import type { Safetensors, StoredTensor } from "./safetensors.ts";
import { columnsOf, readAll, rowsOf, type Weight } from "./weight.ts";

/** The trained parts of one weight. */
export interface LoraParts {
  /** (rank, columns); of an embedding (rank, rows) */
  readonly a: StoredTensor;
  /** (rows, rank); of an embedding (columns, rank) */
  readonly b: StoredTensor;
  /** (rows): DoRA */
  readonly magnitude?: StoredTensor | undefined;
  readonly scaling: number;
  /** The matrices of an embedding are turned. */
  readonly turned: boolean;
}

interface Matrices {
  /** (rank, columns) */
  readonly a: Float32Array;
  /** (rows, rank), scaled */
  readonly b: Float32Array;
  readonly magnitude: Float32Array | undefined;
}

/** The matrices that were read last; weights of one adapter share it. */
export interface LastMatrices {
  of?: { readonly weight: AdaptedWeight; readonly matrices: Matrices };
}

export class AdaptedWeight implements Weight {
  readonly name: string;
  readonly shape: readonly number[];
  readonly dtype: string;
  readonly byteLength: number;
  readonly #base: Weight;
  readonly #adapter: Safetensors;
  readonly #parts: LoraParts;
  readonly #last: LastMatrices;

  constructor(base: Weight, adapter: Safetensors, parts: LoraParts, last: LastMatrices) {
    this.name = base.name;
    this.shape = base.shape;
    // As a merged checkpoint would be saved, where its numbers are kept: in the table of embeddings.
    this.dtype = base.dtype;
    this.byteLength = base.byteLength + parts.a.byteLength + parts.b.byteLength;
    this.#base = base;
    this.#adapter = adapter;
    this.#parts = parts;
    this.#last = last;
  }

  async readRows(firstRow: number, rows: number, target: Float32Array): Promise<void> {
    await this.#base.readRows(firstRow, rows, target);
    const { a, b, magnitude } = await this.#matrices();
    const columns = columnsOf(this);
    const rank = a.length / columns;
    for (let row = 0; row < rows; row++) {
      const out = target.subarray(row * columns, (row + 1) * columns);
      addProduct(out, b, (firstRow + row) * rank, a, rank);
      if (magnitude !== undefined) setLength(out, magnitude[firstRow + row] as number);
    }
  }

  async #matrices(): Promise<Matrices> {
    if (this.#last.of?.weight === this) return this.#last.of.matrices;
    const { a, b, magnitude, scaling, turned } = this.#parts;
    const [first, second] = [await readAll(this.#adapter, a), await readAll(this.#adapter, b)];
    const matrices = {
      a: turned ? turn(second, columnsOf(this)) : first,
      b: (turned ? turn(first, a.shape[0] ?? 1) : second).map((value) => value * scaling),
      magnitude: magnitude && (await readAll(this.#adapter, magnitude)),
    };
    this.#last.of = { weight: this, matrices };
    return matrices;
  }
}

/** A tensor of the adapter in place of the base's. */
export class ReplacedWeight implements Weight {
  readonly name: string;
  readonly shape: readonly number[];
  readonly dtype: string;
  readonly byteLength: number;
  readonly plain = undefined;
  readonly #trained: Weight;

  constructor(base: Pick<Weight, "name">, trained: Weight) {
    this.name = base.name;
    this.shape = trained.shape;
    this.dtype = trained.dtype;
    this.byteLength = trained.byteLength;
    this.#trained = trained;
  }

  readRows(firstRow: number, rows: number, target: Float32Array): Promise<void> {
    return this.#trained.readRows(firstRow, rows, target);
  }
}

/** A bias with a trained one added to it: `lora_B.bias`. */
export class AddedBias implements Weight {
  readonly name: string;
  readonly shape: readonly number[];
  readonly dtype: string;
  readonly byteLength: number;
  readonly #base: Weight;
  readonly #trained: Weight;
  readonly #scaling: number;

  constructor(base: Weight, trained: Weight, scaling: number) {
    this.name = base.name;
    this.shape = base.shape;
    this.dtype = base.dtype;
    this.byteLength = base.byteLength + trained.byteLength;
    this.#base = base;
    this.#trained = trained;
    this.#scaling = scaling;
  }

  async readRows(firstRow: number, rows: number, target: Float32Array): Promise<void> {
    await this.#base.readRows(firstRow, rows, target);
    const added = new Float32Array(rows);
    await this.#trained.readRows(firstRow, rows, added);
    for (let i = 0; i < rows; i++) {
      target[i] = (target[i] as number) + this.#scaling * (added[i] as number);
    }
  }
}

export function sizeOf(weight: Weight): number {
  return rowsOf(weight) * columnsOf(weight);
}

/** out (columns) += b (rank, from `start`) x a (rank, columns); four ranks at a time, so that `out` is passed less often. */
function addProduct(
  out: Float32Array,
  b: Float32Array,
  start: number,
  a: Float32Array,
  rank: number,
): void {
  const columns = out.length;
  let k = 0;
  for (; k + 4 <= rank; k += 4) {
    const [b0, b1] = [b[start + k] as number, b[start + k + 1] as number];
    const [b2, b3] = [b[start + k + 2] as number, b[start + k + 3] as number];
    const at = k * columns;
    for (let i = 0; i < columns; i++) {
      out[i] =
        (out[i] as number) +
        b0 * (a[at + i] as number) +
        b1 * (a[at + columns + i] as number) +
        b2 * (a[at + 2 * columns + i] as number) +
        b3 * (a[at + 3 * columns + i] as number);
    }
  }
  for (; k < rank; k++) {
    const factor = b[start + k] as number;
    for (let i = 0; i < columns; i++) {
      out[i] = (out[i] as number) + factor * (a[k * columns + i] as number);
    }
  }
}

function setLength(row: Float32Array, length: number): void {
  let squares = 0;
  for (const value of row) squares += value * value;
  const factor = squares === 0 ? 0 : length / Math.sqrt(squares);
  for (let i = 0; i < row.length; i++) row[i] = (row[i] as number) * factor;
}

/** (n, rows) -> (rows, n) */
function turn(matrix: Float32Array, rows: number): Float32Array {
  const other = matrix.length / rows;
  // Given (rows, other), wanted (other, rows).
  const turned = new Float32Array(matrix.length);
  for (let row = 0; row < rows; row++) {
    for (let i = 0; i < other; i++) turned[i * rows + row] = matrix[row * other + i] as number;
  }
  return turned;
}
