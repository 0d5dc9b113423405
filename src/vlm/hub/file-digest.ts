// Does a file hash to what its hub says? In: a path and the hash. Out: yes or no, and how far it has read. Large files
// are read piece by piece; nothing is kept.

import { createHash } from "node:crypto";
import { disk } from "../../disk.ts";
import type { FileHash } from "./hub.ts";

const PIECE_BYTES = 2 ** 21;

export interface DigestOptions {
  readonly signal?: AbortSignal | undefined;
  /** Bytes read since the last call. */
  readonly onBytes?: ((bytes: number) => void) | undefined;
}

/** A file without any hash is compared by its size alone. */
export async function matches(
  path: string,
  { size, sha256, gitSha1 }: FileHash & { readonly size: number },
  { signal, onBytes }: DigestOptions = {},
): Promise<boolean> {
  if ((await disk.fileSize(path)) !== size) return false;
  if (sha256 === undefined && gitSha1 === undefined) return true;
  const hash = sha256 === undefined ? createHash("sha1") : createHash("sha256");
  if (sha256 === undefined) hash.update(`blob ${size}\0`);
  const file = await disk.open(path, "r");
  try {
    const piece = new Uint8Array(Math.min(PIECE_BYTES, size + 1));
    for (let position = 0; ; ) {
      signal?.throwIfAborted();
      const { bytesRead } = await file.read(piece, 0, piece.byteLength, position);
      if (bytesRead === 0) break;
      hash.update(piece.subarray(0, bytesRead));
      position += bytesRead;
      onBytes?.(bytesRead);
    }
  } finally {
    await file.close();
  }
  return hash.digest("hex") === (sha256 ?? gitSha1);
}
