// Carries weights from the checkpoint into an external data file, following a plan line by line. In: stored
// tensors, read in pieces. Out: f32, int8 or 4-bit tensors in their graph layout. Memory stays the same whatever
// the size of a tensor: a matrix that must be turned is read once per strip of its columns.

import { DTYPE_BYTES, toFloat32, weightDtype } from "../checkpoint/dtype.ts";
import type { Checkpoint } from "../checkpoint/open-checkpoint.ts";
import type { StoredTensor } from "../checkpoint/safetensors.ts";
import { ModelLoadError } from "../errors.ts";
import { type HashedFile, PIECE_BYTES } from "./hashed-file.ts";
import { WEIGHT_ZERO_POINT, type WeightPlan } from "./linear-layers.ts";
import type { ExternalTensor } from "./onnx-model.ts";
import {
  INT4_BLOCK,
  int4Blocks,
  int8RowScales,
  quantizeInt4Rows,
  type StripPlace,
  turnInt8Rows,
  turnRows,
} from "./quantize.ts";

/** Largest part of a turned matrix that is held at once. */
const STRIP_BYTES = 128 * 1024 * 1024;

/** Some whole rows of stacked matrices, widened to f32. */
interface RowBlock {
  /** (rows, columns), valid until the next block */
  readonly weights: Float32Array;
  readonly firstRow: number;
  readonly rows: number;
}

/** Writes one data file; reuses its buffers from tensor to tensor. */
export class WeightWriter {
  readonly #checkpoint: Checkpoint;
  readonly #file: HashedFile;
  readonly #stripBytes: number;
  #raw = new Uint8Array(0);
  #floats = new Float32Array(0);
  #strip = new ArrayBuffer(0);

  /** @param stripBytes memory for turned matrices; tests set it low */
  constructor(checkpoint: Checkpoint, file: HashedFile, stripBytes: number = STRIP_BYTES) {
    this.#checkpoint = checkpoint;
    this.#file = file;
    this.#stripBytes = stripBytes;
  }

  async write(plan: readonly WeightPlan[]): Promise<void> {
    for (const line of plan) {
      await this.#file.padTo(line.target.offset);
      switch (line.kind) {
        case "values":
          await this.#writeValues(line.source);
          break;
        case "transposed":
          await this.#writeTurned(line.sources, line.target);
          break;
        case "int8":
          await this.#writeInt8(line.sources, line.target, line.scales);
          break;
        case "int4":
          await this.#writeInt4(line.sources, line.target, line.scales);
          break;
        default:
          throw new TypeError(`Unknown weight plan ${line satisfies never}.`);
      }
    }
  }

  async #writeValues(source: string): Promise<void> {
    for await (const { weights } of this.#rowBlocks([source])) {
      await this.#file.append(bytesOf(weights));
    }
  }

  /** sources (N, K) -> target (K, N) f32 */
  async #writeTurned(sources: readonly string[], target: ExternalTensor): Promise<void> {
    const [columns = 0, allRows = 0] = target.shape;
    for (const { place, strip } of this.#strips(columns, allRows, 4)) {
      const values = new Float32Array(strip.buffer, 0, strip.byteLength / 4);
      for await (const { weights, firstRow, rows } of this.#rowBlocks(sources)) {
        turnRows(weights, rows, columns, values, { ...place, firstRow });
      }
      await this.#file.append(strip);
    }
  }

  /** sources (N, K) -> target (K, N) int8, signed or not, and scales (N) */
  async #writeInt8(
    sources: readonly string[],
    target: ExternalTensor,
    scales: ExternalTensor,
  ): Promise<void> {
    const [columns = 0, allRows = 0] = target.shape;
    const allScales = new Float32Array(allRows);
    const zeroPoint = WEIGHT_ZERO_POINT[target.type === "u8" ? "u8" : "s8"];
    for (const { place, strip } of this.#strips(columns, allRows, 1)) {
      for await (const { weights, firstRow, rows } of this.#rowBlocks(sources)) {
        const rowScales = allScales.subarray(firstRow, firstRow + rows);
        if (place.firstColumn === 0) int8RowScales(weights, rows, columns, rowScales);
        const here = { ...place, firstRow };
        turnInt8Rows(weights, rows, columns, rowScales, strip, here, zeroPoint);
      }
      await this.#file.append(strip);
    }
    await this.#file.padTo(scales.offset);
    await this.#file.append(bytesOf(allScales));
  }

  /** sources (N, K) -> target (N, blocks, 64) u8 and scales (N, blocks) */
  async #writeInt4(
    sources: readonly string[],
    target: ExternalTensor,
    scales: ExternalTensor,
  ): Promise<void> {
    const blocks = target.shape[1] ?? 0;
    const allScales = new Float32Array(scales.byteLength / 4);
    for await (const { weights, firstRow, rows } of this.#rowBlocks(sources)) {
      const columns = weights.length / rows;
      const packed = new Uint8Array(rows * int4Blocks(columns) * (INT4_BLOCK / 2));
      const rowScales = allScales.subarray(firstRow * blocks, (firstRow + rows) * blocks);
      quantizeInt4Rows(weights, rows, columns, packed, rowScales);
      await this.#file.append(packed);
    }
    await this.#file.padTo(scales.offset);
    await this.#file.append(bytesOf(allScales));
  }

  /** Cuts a turned matrix (columns, allRows) into strips of whole columns that fit the budget. */
  *#strips(
    columns: number,
    allRows: number,
    elementBytes: number,
  ): Generator<{ place: Omit<StripPlace, "firstRow">; strip: Uint8Array }> {
    const width = Math.max(1, Math.floor(this.#stripBytes / (allRows * elementBytes)));
    for (let firstColumn = 0; firstColumn < columns; firstColumn += width) {
      const endColumn = Math.min(firstColumn + width, columns);
      const byteLength = (endColumn - firstColumn) * allRows * elementBytes;
      if (this.#strip.byteLength < byteLength) this.#strip = new ArrayBuffer(byteLength);
      const strip = new Uint8Array(this.#strip, 0, byteLength);
      yield { place: { allRows, firstColumn, endColumn }, strip };
    }
  }

  /** Reads matrices from top to bottom, one after the other; a vector counts as one column. */
  async *#rowBlocks(sources: readonly string[]): AsyncGenerator<RowBlock> {
    let firstRow = 0;
    for (const source of sources) {
      const tensor = this.#tensor(source);
      const allRows = tensor.shape[0] ?? 1;
      const columns = tensor.shape.slice(1).reduce((product, size) => product * size, 1);
      const rowBytes = columns * DTYPE_BYTES[weightDtype(tensor.dtype)];
      const blockRows = Math.max(1, Math.floor(PIECE_BYTES / rowBytes));
      for (let row = 0; row < allRows; row += blockRows) {
        const rows = Math.min(blockRows, allRows - row);
        const weights = await this.#readFloats(tensor, row * rowBytes, rows * columns);
        yield { weights, firstRow: firstRow + row, rows };
      }
      firstRow += allRows;
    }
  }

  async #readFloats(tensor: StoredTensor, start: number, count: number): Promise<Float32Array> {
    const dtype = weightDtype(tensor.dtype);
    const byteLength = count * DTYPE_BYTES[dtype];
    if (this.#raw.byteLength < byteLength) this.#raw = new Uint8Array(byteLength);
    if (this.#floats.length < count) this.#floats = new Float32Array(count);
    const raw = this.#raw.subarray(0, byteLength);
    const floats = this.#floats.subarray(0, count);
    await this.#checkpoint.weights.read(tensor, start, raw);
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

function bytesOf(values: Float32Array): Uint8Array {
  return new Uint8Array(values.buffer, values.byteOffset, values.byteLength);
}
