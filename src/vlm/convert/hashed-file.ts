// A file that is written once, from front to back, and hashed on the way; and digests of files that are there.
// Knows nothing of what the bytes mean.

import { createHash, type Hash } from "node:crypto";
import type { FileHandle } from "node:fs/promises";
import { basename } from "node:path";
import { disk } from "../../disk.ts";

/** Bytes handled between two turns of the event loop. */
export const PIECE_BYTES = 2 * 1024 * 1024;

const FINGERPRINT_PIECES = 32;
const FINGERPRINT_PIECE_BYTES = 64 * 1024;

/** A file of a package: what the manifest says of it. */
export interface FileDigest {
  readonly file: string;
  readonly bytes: number;
  readonly sha256: string;
}

/** Of a file that is not finished: how much of it there is, and the hash of that. */
export type FileMark = Omit<FileDigest, "file">;

export interface StreamOptions {
  readonly signal?: AbortSignal | undefined;
  /** Called with the bytes handled since the last call. */
  readonly onBytes?: ((bytes: number) => void) | undefined;
}

/** Writes a new file; `finish` makes it durable, `close` is safe at any time. */
export class HashedFile {
  readonly #path: string;
  readonly #name: string;
  readonly #handle: FileHandle;
  readonly #hash: Hash;
  readonly #options: StreamOptions;
  #position: number;

  private constructor(
    path: string,
    handle: FileHandle,
    options: StreamOptions,
    hash: Hash = createHash("sha256"),
    position = 0,
  ) {
    this.#path = path;
    this.#name = basename(path);
    this.#handle = handle;
    this.#options = options;
    this.#hash = hash;
    this.#position = position;
  }

  static async create(path: string, options: StreamOptions = {}): Promise<HashedFile> {
    return new HashedFile(path, await disk.open(path, "wx"), options);
  }

  /**
   * Goes on behind a mark; what was written after it is cut off.
   *
   * @returns undefined when what is there is not what the mark says
   */
  static async resume(
    path: string,
    { bytes, sha256 }: FileMark,
    options: StreamOptions = {},
  ): Promise<HashedFile | undefined> {
    const handle = await disk.open(path, "r+");
    try {
      const hash = createHash("sha256");
      await hashUpTo(handle, bytes, hash, options.signal);
      if (hash.copy().digest("hex") === sha256) {
        await disk.guard(path, () => handle.truncate(bytes));
        return new HashedFile(path, handle, options, hash, bytes);
      }
    } catch (error) {
      await handle.close();
      throw error;
    }
    await handle.close();
    return undefined;
  }

  /** What is written so far, made durable: where another process can go on. */
  async mark(): Promise<FileMark> {
    await disk.guard(this.#path, () => disk.sync(this.#handle));
    return { bytes: this.#position, sha256: this.#hash.copy().digest("hex") };
  }

  async append(bytes: Uint8Array): Promise<void> {
    for (let start = 0; start < bytes.byteLength; start += PIECE_BYTES) {
      this.#options.signal?.throwIfAborted();
      const piece = bytes.subarray(start, start + PIECE_BYTES);
      this.#hash.update(piece);
      await disk.guard(this.#path, () => writeFully(this.#handle, piece, this.#position));
      this.#position += piece.byteLength;
      this.#options.onBytes?.(piece.byteLength);
    }
  }

  /** Writes zeros up to `offset`. */
  async padTo(offset: number): Promise<void> {
    if (offset < this.#position) throw new RangeError(`${this.#name} is already past ${offset}.`);
    await this.append(new Uint8Array(offset - this.#position));
  }

  async finish(): Promise<FileDigest> {
    // A share may say only now that it is full.
    await disk.guard(this.#path, async () => {
      await disk.sync(this.#handle);
      await this.#handle.close();
    });
    return { file: this.#name, bytes: this.#position, sha256: this.#hash.digest("hex") };
  }

  async close(): Promise<void> {
    await this.#handle.close();
  }
}

/** SHA-256 of a whole file, in hexadecimal. */
export async function sha256File(path: string, options: StreamOptions = {}): Promise<FileDigest> {
  const handle = await disk.open(path, "r");
  try {
    const hash = createHash("sha256");
    const piece = new Uint8Array(PIECE_BYTES);
    let bytes = 0;
    for (;;) {
      options.signal?.throwIfAborted();
      const { bytesRead } = await handle.read(piece, 0, piece.byteLength, bytes);
      if (bytesRead === 0) break;
      hash.update(piece.subarray(0, bytesRead));
      bytes += bytesRead;
      options.onBytes?.(bytesRead);
    }
    return { file: basename(path), bytes, sha256: hash.digest("hex") };
  } finally {
    await handle.close();
  }
}

/**
 * SHA-256 of the size and of evenly spread samples: tells two versions of a large file apart without reading
 * all of it. Files up to 2 MiB are covered whole.
 */
export async function fingerprintFile(path: string): Promise<string> {
  const handle = await disk.open(path, "r");
  try {
    const { size } = await handle.stat();
    const hash = createHash("sha256").update(String(size));
    const piece = new Uint8Array(FINGERPRINT_PIECE_BYTES);
    const step = Math.max(FINGERPRINT_PIECE_BYTES, Math.floor(size / FINGERPRINT_PIECES));
    for (let start = 0; start < size; start += step) {
      const { bytesRead } = await handle.read(piece, 0, piece.byteLength, start);
      hash.update(piece.subarray(0, bytesRead));
    }
    return hash.digest("hex");
  } finally {
    await handle.close();
  }
}

async function hashUpTo(
  handle: FileHandle,
  end: number,
  hash: Hash,
  signal: AbortSignal | undefined,
): Promise<void> {
  const piece = new Uint8Array(PIECE_BYTES);
  for (let position = 0; position < end; ) {
    signal?.throwIfAborted();
    const length = Math.min(PIECE_BYTES, end - position);
    const { bytesRead } = await handle.read(piece, 0, length, position);
    if (bytesRead === 0) return; // shorter: another hash
    hash.update(piece.subarray(0, bytesRead));
    position += bytesRead;
  }
}

async function writeFully(handle: FileHandle, bytes: Uint8Array, position: number): Promise<void> {
  let done = 0;
  while (done < bytes.byteLength) {
    const left = bytes.byteLength - done;
    done += (await handle.write(bytes, done, left, position + done)).bytesWritten;
  }
}
