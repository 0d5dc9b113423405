// Trouble with a disk as a ModelLoadError: its code, and how many bytes are needed and free.

import { DiskError, type DiskTrouble } from "../../disk-error.ts";
import { ModelLoadError, type ModelLoadErrorCode } from "../errors.ts";

const CODES: Readonly<Record<DiskTrouble, ModelLoadErrorCode>> = {
  full: "disk-full",
  held: "files-held",
  refused: "not-writable",
};

/** Runs something that reads or writes packages; what the disk has against it becomes a ModelLoadError. */
export async function withDiskTrouble<T>(modelDir: string, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    if (!(error instanceof DiskError)) throw error;
    const { trouble, message, neededBytes, freeBytes } = error;
    throw new ModelLoadError(CODES[trouble], message, {
      cause: error,
      modelDir,
      neededBytes,
      freeBytes,
    });
  }
}

/** Of a disk that was full in the middle: how much all of it needs, and what was free at that moment. */
export function withNeededBytes(error: unknown, neededBytes: number, dir: string): unknown {
  if (!(error instanceof DiskError) || error.trouble !== "full") return error;
  return new DiskError("full", dir, {
    cause: error.cause,
    neededBytes,
    freeBytes: error.freeBytes,
  });
}
