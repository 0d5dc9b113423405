// What lies in a directory that somebody is working in. In: a path. Out: its files. It knows that files and folders may go
// away while it looks, in this process as in another: what is gone is not there.

import { type Dirent, lstatSync, readdirSync } from "node:fs";
import { join } from "node:path";

export interface FoundFile {
  readonly path: string;
  /** What it takes on the disk; one with holes less than its length. */
  readonly bytes: number;
}

/** All files below, in no order. */
export function filesBelow(directory: string): FoundFile[] {
  return entriesOf(directory).flatMap((entry) => {
    const path = join(directory, entry.name);
    if (entry.isDirectory()) return filesBelow(path);
    const found = entry.isFile() ? lstatSync(path, { throwIfNoEntry: false }) : undefined;
    return found ? [{ path, bytes: Math.min(found.size, found.blocks * 512) }] : [];
  });
}

/** What all files below take on the disk. */
export function bytesBelow(directory: string): number {
  return filesBelow(directory).reduce((sum, { bytes }) => sum + bytes, 0);
}

function entriesOf(directory: string): Dirent[] {
  try {
    return readdirSync(directory, { withFileTypes: true });
  } catch {
    return [];
  }
}
