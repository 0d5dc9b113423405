// The embedding of every token, row by row from a file: hundreds of megabytes of which a prompt needs a few rows.
// In: token ids. Out: fp32 rows. It knows nothing of what the ids mean.

import type { FileHandle } from "node:fs/promises";
import { disk } from "../../disk.ts";
import { DiskError } from "../../disk-error.ts";
import { DTYPE_BYTES, toFloat32, type WeightDtype } from "../checkpoint/dtype.ts";
import { DisposedError, ModelLoadError } from "../errors.ts";

/** What the file holds; `manifest.embedTokens` has it. */
export interface EmbeddingFormat {
  readonly dtype: WeightDtype;
  readonly rows: number;
  readonly columns: number;
}

// Enough reads at once to keep libuv's four threads busy, few enough not to crowd out other file work.
const READS_AT_ONCE = 8;

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
    const reader = async () => {
      const bytes = Buffer.from(new ArrayBuffer(columns * DTYPE_BYTES[this.#dtype]));
      // The iterator is shared: each reader takes the next id that nobody has taken.
      for (const [id, row] of wanted) {
        await this.#readRow(id, bytes, target.subarray(row * columns, (row + 1) * columns));
      }
    };
    const readers = Math.min(READS_AT_ONCE, firstRow.size);
    await Promise.all(Array.from({ length: readers }, reader));
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
