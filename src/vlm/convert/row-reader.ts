// Weights of a checkpoint as f32, some whole rows at a time, with the scales moved that a conversion moves. Memory
// stays the same whatever the size of a tensor. Knows no formats but the stored ones.

import { DTYPE_BYTES, toFloat32, weightDtype } from "../checkpoint/dtype.ts";
import type { Checkpoint } from "../checkpoint/open-checkpoint.ts";
import type { StoredTensor } from "../checkpoint/safetensors.ts";
import { ModelLoadError } from "../errors.ts";
import { PIECE_BYTES } from "./hashed-file.ts";
import type { ScaleMoves } from "./scale-moves.ts";

/** Some whole rows of stacked matrices, widened to f32. */
export interface RowBlock {
  /** (rows, columns), valid until the next block */
  readonly weights: Float32Array;
  readonly firstRow: number;
  readonly rows: number;
  readonly columns: number;
}

export class RowReader {
  readonly #checkpoint: Checkpoint;
  readonly #moves: ScaleMoves | undefined;
  #raw = new Uint8Array(0);
  #floats = new Float32Array(0);

  constructor(checkpoint: Checkpoint, moves?: ScaleMoves) {
    this.#checkpoint = checkpoint;
    this.#moves = moves;
  }

  /** Rows of a stored tensor; a vector counts as one column. */
  rows(name: string): number {
    return this.#tensor(name).shape[0] ?? 1;
  }

  /** Reads matrices from top to bottom, one after the other. */
  async *blocks(names: readonly string[]): AsyncGenerator<RowBlock> {
    let before = 0;
    for (const name of names) {
      const columns = this.#columns(this.#tensor(name));
      const rowBytes = columns * DTYPE_BYTES[weightDtype(this.#tensor(name).dtype)];
      const blockRows = Math.max(1, Math.floor(PIECE_BYTES / rowBytes));
      for (let row = 0; row < this.rows(name); row += blockRows) {
        const rows = Math.min(blockRows, this.rows(name) - row);
        const weights = await this.read(name, row, rows);
        yield { weights, firstRow: before + row, rows, columns };
      }
      before += this.rows(name);
    }
  }

  /** @returns (rows, columns), valid until the next read */
  async read(name: string, firstRow: number, rows: number): Promise<Float32Array> {
    const tensor = this.#tensor(name);
    const columns = this.#columns(tensor);
    const weights = await this.#readFloats(tensor, firstRow * columns, rows * columns);
    this.#moves?.apply(name, weights, firstRow, rows, columns);
    return weights;
  }

  #columns({ shape }: StoredTensor): number {
    return shape.slice(1).reduce((product, size) => product * size, 1);
  }

  async #readFloats(tensor: StoredTensor, first: number, count: number): Promise<Float32Array> {
    const dtype = weightDtype(tensor.dtype);
    const byteLength = count * DTYPE_BYTES[dtype];
    if (this.#raw.byteLength < byteLength) this.#raw = new Uint8Array(byteLength);
    if (this.#floats.length < count) this.#floats = new Float32Array(count);
    const raw = this.#raw.subarray(0, byteLength);
    const floats = this.#floats.subarray(0, count);
    await this.#checkpoint.weights.read(tensor, first * DTYPE_BYTES[dtype], raw);
    if (!toFloat32(raw, dtype, floats, count)) {
      throw new ModelLoadError(
        "model-corrupt",
        `The tensor ${tensor.name} holds infinite values or values that are not numbers.`,
        { modelDir: this.#checkpoint.dir },
      );
    }
    return floats;
  }

  #tensor(name: string): StoredTensor {
    const tensor = this.#checkpoint.tensors.get(name);
    if (tensor === undefined) throw new RangeError(`The checkpoint has no tensor ${name}.`);
    return tensor;
  }
}
