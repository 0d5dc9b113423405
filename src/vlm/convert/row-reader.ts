// Weights of a checkpoint as f32, some whole rows at a time, with the scales moved that a conversion moves. Memory
// stays the same whatever the size of a tensor. Knows no formats but the stored ones.

import type { Checkpoint } from "../checkpoint/open-checkpoint.ts";
import { columnsOf, rowsOf, type Weight } from "../checkpoint/weight.ts";
import { ModelLoadError } from "../errors.ts";
import type { ScaleMoves } from "./scale-moves.ts";

/** Stored bytes between two turns of the event loop: what a conversion makes of them takes a few milliseconds. */
const BLOCK_BYTES = 512 * 1024;
/** At first, when no loop over them is compiled yet: they take ten times as long. */
const FIRST_BLOCK_BYTES = 32 * 1024;

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
  #floats = new Float32Array(0);
  #blockBytes = FIRST_BLOCK_BYTES;

  constructor(checkpoint: Checkpoint, moves?: ScaleMoves) {
    this.#checkpoint = checkpoint;
    this.#moves = moves;
  }

  /** Rows of a weight; a vector counts as one column. */
  rows(name: string): number {
    return rowsOf(this.weight(name));
  }

  /** Reads matrices from top to bottom, one after the other. */
  async *blocks(names: readonly string[]): AsyncGenerator<RowBlock> {
    let before = 0;
    for (const name of names) {
      const weight = this.weight(name);
      const columns = columnsOf(weight);
      const rowBytes = columns * (weight.dtype === "F32" ? 4 : 2);
      for (let row = 0; row < this.rows(name); ) {
        const blockRows = Math.max(1, Math.floor(this.#blockBytes / rowBytes));
        this.#blockBytes = Math.min(2 * this.#blockBytes, BLOCK_BYTES);
        const rows = Math.min(blockRows, this.rows(name) - row);
        const weights = await this.read(name, row, rows);
        yield { weights, firstRow: before + row, rows, columns };
        row += rows;
      }
      before += this.rows(name);
    }
  }

  /** @returns (rows, columns), valid until the next read */
  async read(name: string, firstRow: number, rows: number): Promise<Float32Array> {
    const weight = this.weight(name);
    const columns = columnsOf(weight);
    const count = rows * columns;
    if (this.#floats.length < count) this.#floats = new Float32Array(count);
    const weights = this.#floats.subarray(0, count);
    await this.#readRows(weight, firstRow, rows, weights);
    this.#moves?.apply(name, weights, firstRow, rows, columns);
    return weights;
  }

  /** As the checkpoint has it, without any moves. */
  weight(name: string): Weight {
    const weight = this.#checkpoint.tensors.get(name);
    if (weight === undefined) throw new RangeError(`The checkpoint has no tensor ${name}.`);
    return weight;
  }

  async #readRows(
    weight: Weight,
    firstRow: number,
    rows: number,
    target: Float32Array,
  ): Promise<void> {
    try {
      await weight.readRows(firstRow, rows, target);
    } catch (error) {
      if (!(error instanceof ModelLoadError) || error.modelDir !== undefined) throw error;
      throw new ModelLoadError(error.code, error.message, { modelDir: this.#checkpoint.dir });
    }
  }
}
