// The embedding of every token, row by row from a file: hundreds of megabytes of which a prompt needs a few rows.
// In: token ids. Out: fp32 rows. It knows nothing of what the ids mean.

import { readSync } from "node:fs";
import type { FileHandle } from "node:fs/promises";
import { disk } from "../../disk.ts";
import { DiskError } from "../../disk-error.ts";
import { DTYPE_BYTES, toFloat32, type WeightDtype } from "../checkpoint/dtype.ts";
import { DisposedError, ModelLoadError } from "../errors.ts";
import { TimeSlice } from "../event-loop/time-slice.ts";

/** What the file holds; `manifest.embedTokens` has it. */
export interface EmbeddingFormat {
  readonly dtype: WeightDtype;
  readonly rows: number;
  readonly columns: number;
}

// Enough reads at once to keep libuv's four threads busy, few enough not to crowd out other file work.
const READS_AT_ONCE = 8;
/** Reading a row that the system has in its memory takes microseconds; what takes longer comes from the disk. */
const FROM_MEMORY_MS = 0.5;

/** An open embedding table. */
export class EmbeddingTable {
  readonly rows: number;
  readonly columns: number;
  readonly #file: FileHandle;
  readonly #dtype: WeightDtype;
  #closing: Promise<void> | undefined;

  private constructor(file: FileHandle, format: EmbeddingFormat) {
    this.#file = file;
    this.#dtype = format.dtype;
    this.rows = format.rows;
    this.columns = format.columns;
  }

  /** @throws ModelLoadError when the file is missing or of the wrong size */
  static async open(path: string, format: EmbeddingFormat): Promise<EmbeddingTable> {
    let file: FileHandle;
    try {
      file = await disk.open(path, "r");
    } catch (cause) {
      if (cause instanceof DiskError)
        throw new ModelLoadError("files-held", cause.message, { cause });
      throw new ModelLoadError("model-files-missing", `The embedding table ${path} is missing.`, {
        cause,
        missing: [path],
      });
    }
    const expected = format.rows * format.columns * DTYPE_BYTES[format.dtype];
    const { size } = await file.stat();
    if (size !== expected) {
      await file.close();
      throw new ModelLoadError(
        "model-corrupt",
        `The embedding table ${path} has ${size} bytes and should have ${expected}.`,
      );
    }
    return new EmbeddingTable(file, format);
  }

  /**
   * Reads the rows of some tokens.
   *
   * @param target (ids.length, columns); row i becomes the embedding of ids[i].
   * @throws RangeError for an id that is not in the table
   */
  async read(ids: Int32Array, target: Float32Array): Promise<void> {
    if (this.#closing) throw new DisposedError("The embedding table");
    const { columns } = this;
    const firstRow = new Map<number, number>(); // id -> first row that wants it
    for (const [row, id] of ids.entries()) {
      if (id < 0 || id >= this.rows) {
        throw new RangeError(`Expected a token id below ${this.rows}, got \`${id}\``);
      }
      if (!firstRow.has(id)) firstRow.set(id, row);
    }
    const wanted = firstRow.entries();
    await this.#readFromMemory(wanted, target);
    await this.#readFromDisk(wanted, target);
    for (const [row, id] of ids.entries()) {
      const first = firstRow.get(id) ?? row;
      if (first !== row) target.copyWithin(row * columns, first * columns, (first + 1) * columns);
    }
  }

  /** Waits for reads in progress. Calling it again is fine. */
  close(): Promise<void> {
    this.#closing ??= this.#file.close();
    return this.#closing;
  }

  /**
   * Row after row, without the way to another thread and back, which takes many times as long as the read itself; until
   * one of them had to come from the disk, for which nobody else should wait.
   */
  async #readFromMemory(wanted: Iterator<[number, number]>, target: Float32Array): Promise<void> {
    const bytes = this.#rowBuffer();
    const slice = new TimeSlice();
    for (let next = wanted.next(); !next.done; next = wanted.next()) {
      const [id, row] = next.value;
      const begun = performance.now();
      this.#readRowNow(id, bytes, this.#rowOf(target, row));
      if (performance.now() - begun > FROM_MEMORY_MS) return;
      if (!slice.over) continue;
      await slice.rest();
      if (this.#closing) throw new DisposedError("The embedding table");
    }
  }

  /** Several at once, each by another thread. */
  async #readFromDisk(
    wanted: IterableIterator<[number, number]>,
    target: Float32Array,
  ): Promise<void> {
    const reader = async () => {
      const bytes = this.#rowBuffer();
      // The iterator is shared: each reader takes the next id that nobody has taken.
      for (const [id, row] of wanted) await this.#readRow(id, bytes, this.#rowOf(target, row));
    };
    await Promise.all(Array.from({ length: READS_AT_ONCE }, reader));
  }

  #rowBuffer(): Buffer {
    return Buffer.from(new ArrayBuffer(this.columns * DTYPE_BYTES[this.#dtype]));
  }

  #rowOf(target: Float32Array, row: number): Float32Array {
    return target.subarray(row * this.columns, (row + 1) * this.columns);
  }

  #readRowNow(id: number, bytes: Buffer, row: Float32Array): void {
    for (let filled = 0; filled < bytes.length; ) {
      const position = id * bytes.length + filled;
      const read = readSync(this.#file.fd, bytes, filled, bytes.length - filled, position);
      if (read === 0) throw new Error("The embedding table ended early");
      filled += read;
    }
    toFloat32(bytes, this.#dtype, row, row.length);
  }

  async #readRow(id: number, bytes: Buffer, row: Float32Array): Promise<void> {
    let filled = 0;
    while (filled < bytes.length) {
      const position = id * bytes.length + filled;
      const { bytesRead } = await this.#file.read(bytes, filled, bytes.length - filled, position);
      if (bytesRead === 0) throw new Error("The embedding table ended early");
      filled += bytesRead;
    }
    toFloat32(bytes, this.#dtype, row, row.length);
  }
}
