// Files out of an archive, or out of a directory. In: a .zip in any of its names (.nupkg, .whl), a .tgz, a directory, and
// the files that are wanted, by their last names. Out: those files where they are wanted. Sums are checked.

import { createWriteStream } from "node:fs";
import { copyFile, readdir, stat } from "node:fs/promises";
import { basename, join } from "node:path";
import { type Readable, Transform } from "node:stream";
import { pipeline } from "node:stream/promises";
import { crc32 } from "node:zlib";
import { list } from "tar";
import yauzl from "yauzl";
import { disk } from "../../disk.ts";

/** What is taken out: last name to path. */
export type Wanted = ReadonlyMap<string, string>;

/** @returns the names that were found */
export async function extract(
  from: string,
  wanted: Wanted,
  signal: AbortSignal,
): Promise<string[]> {
  if ((await stat(from)).isDirectory()) return fromDirectory(from, wanted);
  const magic = Buffer.alloc(4);
  const file = await disk.open(from, "r");
  try {
    await file.read(magic, 0, 4, 0);
  } finally {
    await file.close();
  }
  if (magic.subarray(0, 2).toString("latin1") === "PK") return fromZip(from, wanted, signal);
  if (magic[0] === 0x1f && magic[1] === 0x8b) return fromTar(from, wanted, signal);
  throw new Error(`${basename(from)} is neither a zip file (.nupkg, .whl, .zip) nor a .tgz`);
}

async function fromDirectory(dir: string, wanted: Wanted): Promise<string[]> {
  const found: string[] = [];
  for (const name of await readdir(dir)) {
    const target = wanted.get(name);
    if (target === undefined) continue;
    await disk.guard(target, () => copyFile(join(dir, name), target));
    found.push(name);
  }
  return found;
}

async function fromZip(path: string, wanted: Wanted, signal: AbortSignal): Promise<string[]> {
  const zip = await yauzl.openPromise(path, { lazyEntries: true, autoClose: false });
  const found: string[] = [];
  try {
    for await (const entry of zip.eachEntry()) {
      const name = basename(entry.fileName);
      const target = wanted.get(name);
      if (target === undefined || found.includes(name)) continue;
      await writeEntry(await zip.openReadStreamPromise(entry), entry.crc32, target, signal);
      found.push(name);
    }
    return found;
  } finally {
    zip.close();
  }
}

/** The reader of zip files checks lengths; the sum is checked here. */
async function writeEntry(
  source: Readable,
  expected: number,
  target: string,
  signal: AbortSignal,
): Promise<void> {
  let sum = 0;
  const summing = new Transform({
    transform(chunk: Buffer, _encoding, done) {
      sum = crc32(chunk, sum);
      done(undefined, chunk);
    },
  });
  await disk.guard(target, () => pipeline(source, summing, createWriteStream(target), { signal }));
  if (sum !== expected) throw new Error(`${basename(target)} is damaged in the archive`);
}

/** gzip has a sum of its own, over everything: a damaged archive ends with an error. */
async function fromTar(path: string, wanted: Wanted, signal: AbortSignal): Promise<string[]> {
  const found: string[] = [];
  const writing: Promise<void>[] = [];
  await list({
    file: path,
    strict: true,
    onReadEntry(entry) {
      const name = basename(entry.path);
      const target = wanted.get(name);
      // A link to a library has its name as well, and no contents.
      if (target === undefined || entry.type !== "File" || found.includes(name))
        return entry.resume();
      found.push(name);
      const file = createWriteStream(target);
      writing.push(disk.guard(target, () => pipeline(entry as unknown as Readable, file)));
    },
  });
  await Promise.all(writing);
  signal.throwIfAborted();
  return found;
}
