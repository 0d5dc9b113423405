// The table of token embeddings as a file: rows one after the other, looked up one by one, so they need no other form
// than the stored one. In: a weight. Out: bytes. Memory: some rows.

import { DTYPE_BYTES, fromFloat32, weightDtype } from "../checkpoint/dtype.ts";
import { columnsOf, rowsOf, type Weight } from "../checkpoint/weight.ts";
import { type HashedFile, PIECE_BYTES } from "./hashed-file.ts";
import type { PackageManifest } from "./manifest.ts";

export function embeddingTableBytes(weight: Weight): number {
  return rowsOf(weight) * columnsOf(weight) * DTYPE_BYTES[weightDtype(weight.dtype)];
}

/** What the manifest says of the table. */
export function embeddingTableForm(weight: Weight): Omit<PackageManifest["embedTokens"], "file"> {
  const dtype = weightDtype(weight.dtype);
  return { dtype, rows: rowsOf(weight), columns: columnsOf(weight) };
}

/** Writes all rows in the format that the weight has. */
export async function writeEmbeddingTable(weight: Weight, file: HashedFile): Promise<void> {
  const { dtype, rows, columns } = embeddingTableForm(weight);
  const pieceRows = Math.max(1, Math.floor(PIECE_BYTES / (columns * 4)));
  const floats = new Float32Array(pieceRows * columns);
  const narrow = new Uint16Array(dtype === "f32" ? 0 : floats.length);
  for (let row = 0; row < rows; row += pieceRows) {
    const count = Math.min(pieceRows, rows - row) * columns;
    const values = floats.subarray(0, count);
    await weight.readRows(row, count / columns, values);
    if (dtype === "f32") {
      await file.append(bytesOf(values));
    } else {
      // What was widened from 16 bits comes back as it was.
      fromFloat32(values, dtype, narrow.subarray(0, count));
      await file.append(bytesOf(narrow.subarray(0, count)));
    }
  }
}

function bytesOf(values: Float32Array | Uint16Array): Uint8Array {
  return new Uint8Array(values.buffer, values.byteOffset, values.byteLength);
}
