// Carries weights from the checkpoint into an external data file, following a plan line by line. In: stored
// tensors, read in pieces. Out: f32, int8 or 4-bit tensors in their graph layout. Memory stays the same whatever
// the size of a tensor: a matrix that must be turned is read once per strip of its columns.

import { fromFloat32 } from "../checkpoint/dtype.ts";
import type { HashedFile } from "./hashed-file.ts";
import { type Int8Weights, WEIGHT_ZERO_POINT } from "./linear-layers.ts";
import type { ExternalTensor } from "./onnx-model.ts";
import { packInt4 } from "./pack-int4.ts";
import {
  int8RowScales,
  quantizeInt4Rows,
  quantizeInt8Blocks,
  type StripPlace,
  turnInt8Rows,
  turnRows,
} from "./quantize.ts";
import type { RowReader } from "./row-reader.ts";
import type { WeightPlan } from "./weight-plan.ts";

/** Largest part of a turned matrix that is held at once. */
const STRIP_BYTES = 128 * 1024 * 1024;

/** Writes one data file; reuses its buffers from tensor to tensor. */
export class WeightWriter {
  readonly #reader: RowReader;
  readonly #file: HashedFile;
  readonly #stripBytes: number;
  #strip = new ArrayBuffer(0);

  /** @param stripBytes memory for turned matrices; tests set it low */
  constructor(reader: RowReader, file: HashedFile, stripBytes: number = STRIP_BYTES) {
    this.#reader = reader;
    this.#file = file;
    this.#stripBytes = stripBytes;
  }

  async write(plan: readonly WeightPlan[]): Promise<void> {
    for (const line of plan) {
      await this.#file.padTo(line.target.offset);
      switch (line.kind) {
        case "values":
          await this.#writeValues(line.source, line.target);
          break;
        case "transposed":
          await this.#writeTurned(line.sources, line.target);
          break;
        case "int8":
          await this.#writeInt8(line.sources, line.target, line.scales, line.form);
          break;
        case "blocks":
          await this.#writeBlocks(line);
          break;
        case "stored-int4":
          await this.#writeStoredInt4(line);
          break;
        default:
          throw new TypeError(`Unknown weight plan ${line satisfies never}.`);
      }
    }
  }

  async #writeValues(source: string, target: ExternalTensor): Promise<void> {
    for await (const { weights } of this.#reader.blocks([source])) {
      await this.#file.append(bytesOf(narrowed(weights, target.type)));
    }
  }

  /** sources (N, K) -> target (K, N) f32, f16 or bf16 */
  async #writeTurned(sources: readonly string[], target: ExternalTensor): Promise<void> {
    const [columns = 0, allRows = 0] = target.shape;
    const elementBytes = target.type === "f32" ? 4 : 2;
    for (const { place, strip } of this.#strips(columns, allRows, elementBytes)) {
      const values =
        elementBytes === 4
          ? new Float32Array(strip.buffer, 0, strip.byteLength / 4)
          : new Uint16Array(strip.buffer, 0, strip.byteLength / 2);
      for await (const { weights, firstRow, rows } of this.#reader.blocks(sources)) {
        const numbers = narrowed(weights, target.type);
        turnRows(numbers, rows, columns, values, { ...place, firstRow });
      }
      await this.#file.append(strip);
    }
  }

  /** sources (N, K) -> target (K, N) int8, signed or not, and scales (N) */
  async #writeInt8(
    sources: readonly string[],
    target: ExternalTensor,
    scales: ExternalTensor,
    form: Int8Weights,
  ): Promise<void> {
    const [columns = 0, allRows = 0] = target.shape;
    const allScales = new Float32Array(allRows);
    const zeroPoint = WEIGHT_ZERO_POINT[form];
    const paired = form === "s8-paired";
    for (const { place, strip } of this.#strips(columns, allRows, 1)) {
      for await (const { weights, firstRow, rows } of this.#reader.blocks(sources)) {
        const rowScales = allScales.subarray(firstRow, firstRow + rows);
        if (place.firstColumn === 0) {
          int8RowScales(weights, rows, columns, rowScales, paired);
        }
        const here = { ...place, firstRow };
        turnInt8Rows(weights, rows, columns, rowScales, strip, here, zeroPoint, paired);
      }
      await this.#file.append(strip);
    }
    await this.#file.padTo(scales.offset);
    await this.#file.append(bytesOf(allScales));
  }

  /** sources (N, K) -> target (N, blocks, block * bits / 8) u8 and scales (N, blocks) */
  async #writeBlocks(line: WeightPlan & { readonly kind: "blocks" }): Promise<void> {
    const { sources, target, scales, bits, block } = line;
    const [, blocks = 0, blockBytes = 0] = target.shape;
    const allScales = new Float32Array((scales.shape[0] ?? 0) * blocks);
    const quantize = bits === 4 ? quantizeInt4Rows : quantizeInt8Blocks;
    for await (const { weights, firstRow, rows } of this.#reader.blocks(sources)) {
      const packed = new Uint8Array(rows * blocks * blockBytes);
      const rowScales = allScales.subarray(firstRow * blocks, (firstRow + rows) * blocks);
      quantize(weights, rows, weights.length / rows, packed, rowScales, block);
      await this.#file.append(packed);
    }
    await this.#file.padTo(scales.offset);
    await this.#file.append(bytesOf(narrowed(allScales, scales.type)));
  }

  /** Levels of the sources, one below the other, then their scales and zero points. */
  async #writeStoredInt4(line: WeightPlan & { readonly kind: "stored-int4" }): Promise<void> {
    const scales: Float32Array[] = [];
    const zeroPoints: Uint8Array[] = [];
    for (const source of line.sources) {
      const weight = this.#reader.weight(source).int4;
      if (weight === undefined) throw new RangeError(`${source} is not stored in 4 bits.`);
      const packed = packInt4(weight.layout, await weight.read(), line.block);
      await this.#file.append(packed.levels);
      scales.push(packed.scales);
      zeroPoints.push(packed.zeroPoints);
    }
    await this.#file.padTo(line.scales.offset);
    for (const part of scales) await this.#file.append(bytesOf(narrowed(part, line.scales.type)));
    if (line.zeroPoints === undefined) return;
    await this.#file.padTo(line.zeroPoints.offset);
    for (const part of zeroPoints) await this.#file.append(part);
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
}

/** The numbers in the type of a tensor. */
function narrowed(values: Float32Array, type: ExternalTensor["type"]): Float32Array | Uint16Array {
  if (type !== "f16" && type !== "bf16") return values;
  const narrow = new Uint16Array(values.length);
  fromFloat32(values, type, narrow);
  return narrow;
}

function bytesOf(values: Float32Array | Uint16Array): Uint8Array {
  return new Uint8Array(values.buffer, values.byteOffset, values.byteLength);
}
