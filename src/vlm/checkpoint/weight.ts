// A weight of the model as the converter reads it: a name, a shape, and rows of f32, however it is stored. In: an open
// file. Out: numbers, every one of them checked to be finite. Knows no model and no configuration.

import { ModelLoadError } from "../errors.ts";
import { DTYPE_BYTES, toFloat32, type WeightDtype, weightDtype } from "./dtype.ts";
import type { Int4Weight } from "./int4-weight.ts";
import type { Safetensors, StoredTensor } from "./safetensors.ts";

/** One weight, of one stored tensor or of several. */
export interface Weight {
  /** `….weight` as the file spells it, also where the file has only parts of it. */
  readonly name: string;
  /** In numbers, not in stored words. */
  readonly shape: readonly number[];
  /** Number format of the file, such as `BF16`; of quantised weights, the narrowest that holds their numbers. */
  readonly dtype: string;
  /** On disk, all parts together. */
  readonly byteLength: number;
  /** The one tensor whose bytes are the numbers; undefined where they have to be computed. */
  readonly plain?: StoredTensor | undefined;
  /** The stored tensors it is read from, all of the checkpoint's own; undefined where there are others, or order matters. */
  readonly parts?: readonly StoredTensor[] | undefined;
  /** The stored 4-bit levels, where there are any. */
  readonly int4?: Int4Weight | undefined;
  /** How it is quantised, in words for people; undefined for plain numbers. */
  readonly quantized?: string | undefined;
  /**
   * Fills `target` with whole rows; a row is everything beside the first dimension.
   *
   * @param target (rows, columns)
   * @throws ModelLoadError `model-corrupt` for values that are infinite or not numbers
   */
  readRows(firstRow: number, rows: number, target: Float32Array): Promise<void>;
}

/** Values of one row; a vector has one, a scalar is one. */
export function columnsOf({ shape }: Pick<Weight, "shape">): number {
  return shape.slice(1).reduce((product, size) => product * size, 1);
}

export function rowsOf({ shape }: Pick<Weight, "shape">): number {
  return shape[0] ?? 1;
}

/** One stored tensor of plain numbers. */
export class PlainWeight implements Weight {
  readonly plain: StoredTensor;
  readonly #weights: Safetensors;
  readonly #columns: number;
  #raw = new Uint8Array(0);

  constructor(weights: Safetensors, tensor: StoredTensor) {
    this.#weights = weights;
    this.plain = tensor;
    this.#columns = columnsOf(tensor);
  }

  get name(): string {
    return this.plain.name;
  }

  get shape(): readonly number[] {
    return this.plain.shape;
  }

  get dtype(): string {
    return this.plain.dtype;
  }

  get byteLength(): number {
    return this.plain.byteLength;
  }

  get parts(): readonly StoredTensor[] {
    return [this.plain];
  }

  async readRows(firstRow: number, rows: number, target: Float32Array): Promise<void> {
    const dtype = weightDtype(this.dtype);
    const count = rows * this.#columns;
    const byteLength = count * DTYPE_BYTES[dtype];
    if (this.#raw.byteLength < byteLength) this.#raw = new Uint8Array(byteLength);
    const raw = this.#raw.subarray(0, byteLength);
    await this.#weights.read(this.plain, firstRow * this.#columns * DTYPE_BYTES[dtype], raw);
    widen(raw, dtype, target, count, this.name);
    // Only the weight that is being read keeps a buffer: a model has hundreds of them.
    if (firstRow + rows >= rowsOf(this)) this.#raw = new Uint8Array(0);
  }
}

/** All numbers of a small tensor, such as scales. */
export async function readAll(weights: Safetensors, tensor: StoredTensor): Promise<Float32Array> {
  const dtype = weightDtype(tensor.dtype);
  const raw = new Uint8Array(tensor.byteLength);
  await weights.read(tensor, 0, raw);
  const count = tensor.byteLength / DTYPE_BYTES[dtype];
  const values = new Float32Array(count);
  widen(raw, dtype, values, count, tensor.name);
  return values;
}

function widen(
  raw: Uint8Array,
  dtype: WeightDtype,
  target: Float32Array,
  count: number,
  name: string,
): void {
  if (toFloat32(raw, dtype, target, count)) return;
  throw notFinite(name);
}

export function notFinite(name: string): ModelLoadError {
  return new ModelLoadError(
    "model-corrupt",
    `The tensor ${name} holds infinite values or values that are not numbers.`,
  );
}
