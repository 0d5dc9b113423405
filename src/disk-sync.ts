// Reading a settings file where nothing can be awaited. In: a path. Out: its text, in whatever Unicode an editor wrote it;
// on Windows a scanner or an editor that holds the file is waited for, a short while.

import { readFileSync } from "node:fs";
import { codeOf, DiskError } from "./disk-error.ts";

const PATIENCE_MS = 2_000;
const PAUSE_MS = 50;
const HELD = new Set(["EPERM", "EACCES", "EBUSY"]);

/** What of this computer is used; replaced in tests. */
export interface SyncParts {
  readonly read: (path: string) => Uint8Array;
  readonly platform: string;
  readonly pause: (milliseconds: number) => void;
}

const REAL: SyncParts = {
  read: (path) => readFileSync(path),
  platform: process.platform,
  pause: (milliseconds) =>
    void Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, milliseconds),
};

/** A file that is no Unicode: in a Chinese Windows, editors and shells may write GBK, and call it ANSI. */
export class EncodingError extends Error {
  override readonly name = "EncodingError";
}

/** @throws DiskError `held` when it stays held; {@link EncodingError}; any other error of the system as it is */
export function readTextSync(path: string, { read, platform, pause }: SyncParts = REAL): string {
  for (let waited = 0; ; waited += PAUSE_MS) {
    try {
      return textOf(read(path));
    } catch (cause) {
      if (platform !== "win32" || !HELD.has(codeOf(cause) ?? "")) throw cause;
      if (waited >= PATIENCE_MS) throw new DiskError("held", path, { cause });
      pause(PAUSE_MS);
    }
  }
}

/** UTF-8, or what a byte order mark in front says: PowerShell writes UTF-16. @throws {EncodingError} */
function textOf(bytes: Uint8Array): string {
  const [first, second] = bytes;
  const isUtf16 = (first === 0xff && second === 0xfe) || (first === 0xfe && second === 0xff);
  const encoding = !isUtf16 ? "utf-8" : first === 0xff ? "utf-16le" : "utf-16be";
  try {
    return new TextDecoder(encoding, { fatal: true }).decode(bytes);
  } catch (cause) {
    throw new EncodingError(`It is no ${encoding.toUpperCase()}.`, { cause });
  }
}
