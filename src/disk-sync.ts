// Reading a settings file where nothing can be awaited. In: a path. Out: its text; on Windows a scanner or an editor that
// holds the file is waited for, a short while.

import { readFileSync } from "node:fs";
import { codeOf, DiskError } from "./disk-error.ts";

const PATIENCE_MS = 2_000;
const PAUSE_MS = 50;
const HELD = new Set(["EPERM", "EACCES", "EBUSY"]);

/** What of this computer is used; replaced in tests. */
export interface SyncParts {
  readonly read: (path: string) => string;
  readonly platform: string;
  readonly pause: (milliseconds: number) => void;
}

const REAL: SyncParts = {
  read: (path) => readFileSync(path, "utf8"),
  platform: process.platform,
  pause: (milliseconds) =>
    void Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, milliseconds),
};

/** @throws DiskError `held` when it stays held; any other error of the system as it is */
export function readTextSync(path: string, { read, platform, pause }: SyncParts = REAL): string {
  for (let waited = 0; ; waited += PAUSE_MS) {
    try {
      return read(path);
    } catch (cause) {
      if (platform !== "win32" || !HELD.has(codeOf(cause) ?? "")) throw cause;
      if (waited >= PATIENCE_MS) throw new DiskError("held", path, { cause });
      pause(PAUSE_MS);
    }
  }
}
