// A file that is not whole yet, on disk: `NAME.part` with the bytes where they belong, and `NAME.part.ranges`, a line for
// each write, so that a process that is killed loses nothing that was written. In: bytes with their places. Out: the
// whole file under its name, after its hash was right. It knows no network.

import type { FileHandle } from "node:fs/promises";
import { disk } from "../../disk.ts";
import { type ByteRange, ByteRanges } from "./byte-ranges.ts";
import { type DigestOptions, matches } from "./file-digest.ts";
import type { ListedFile } from "./hub.ts";

export class PartialFile {
  readonly #path: string;
  readonly #file: ListedFile;
  #data: FileHandle;
  #journal: FileHandle;
  #covered: ByteRanges;

  private constructor(
    path: string,
    file: ListedFile,
    parts: { data: FileHandle; journal: FileHandle; covered: ByteRanges },
  ) {
    this.#path = path;
    this.#file = file;
    this.#data = parts.data;
    this.#journal = parts.journal;
    this.#covered = parts.covered;
  }

  /** Goes on with what an earlier run left, if that is of the same file. @param path where the whole file will be */
  static async open(path: string, file: ListedFile): Promise<PartialFile> {
    const left = await readJournal(path, file);
    return new PartialFile(path, file, await openBoth(path, file, left));
  }

  /** Takes over what was left at another path, of another revision or hub, if it is of the same file and more. */
  static async adopt(from: string, to: string, file: ListedFile): Promise<void> {
    const there = await readJournal(from, file);
    if (there.bytes <= (await readJournal(to, file)).bytes) return;
    await discard(to);
    await disk.moveFile(dataPath(from), dataPath(to));
    await disk.moveFile(journalPath(from), journalPath(to));
  }

  /** Bytes of a partial file that is not open. */
  static async bytesLeft(path: string, file: ListedFile): Promise<number> {
    return (await readJournal(path, file)).bytes;
  }

  get bytes(): number {
    return this.#covered.bytes;
  }

  missing(range: ByteRange = { start: 0, end: this.#file.size }): ByteRange[] {
    return this.#covered.missing(range);
  }

  /** @returns how many bytes are new */
  async write(position: number, bytes: Uint8Array): Promise<number> {
    const range = { start: position, end: position + bytes.byteLength };
    await disk.guard(this.#path, async () => {
      await writeFully(this.#data, bytes, position);
      // Only now: what a line says is there.
      await this.#journal.write(lineOf(range));
    });
    // Other connections write meanwhile: what is new is known only here.
    const before = this.bytes;
    this.#covered.add(range);
    return this.bytes - before;
  }

  /** The first bytes, which have to be there. */
  async read(end: number): Promise<Buffer> {
    const bytes = Buffer.alloc(end);
    for (let done = 0; done < end; ) {
      const { bytesRead } = await this.#data.read(bytes, done, end - done, done);
      if (bytesRead === 0) throw new RangeError(`${this.#path} is shorter than ${end} bytes.`);
      done += bytesRead;
    }
    return bytes;
  }

  /** Safe at any time: removes all there is of a file that is not whole. */
  static async discard(path: string): Promise<void> {
    await discard(path);
  }

  /** Puts the whole file under its name. @returns whether its hash was right; if not, nothing of it is left */
  async finish(options: DigestOptions): Promise<boolean> {
    await disk.guard(this.#path, () => disk.sync(this.#data));
    await this.close();
    if (await matches(dataPath(this.#path), this.#file, options)) {
      await disk.moveFile(dataPath(this.#path), this.#path, { signal: options.signal });
      await disk.remove(journalPath(this.#path));
      return true;
    }
    await discard(this.#path);
    return false;
  }

  /** Begins again, with nothing. */
  async reopen(): Promise<void> {
    const parts = await openBoth(this.#path, this.#file, new ByteRanges());
    this.#data = parts.data;
    this.#journal = parts.journal;
    this.#covered = parts.covered;
  }

  /** Safe at any time; what came stays for the next run. */
  async close(): Promise<void> {
    await this.#data.close();
    await this.#journal.close();
  }
}

const dataPath = (path: string) => `${path}.part`;
const journalPath = (path: string) => `${path}.part.ranges`;

async function discard(path: string): Promise<void> {
  await disk.remove(journalPath(path));
  await disk.remove(dataPath(path));
}

/** Says what the bytes are of: another size or hash is another file. */
function headOf({ size, sha256, gitSha1 }: ListedFile): string {
  return `1 ${size} ${sha256 ?? gitSha1 ?? "-"}\n`;
}

const lineOf = ({ start, end }: ByteRange) => `${start} ${end}\n`;

async function readJournal(path: string, file: ListedFile): Promise<ByteRanges> {
  const covered = new ByteRanges();
  const text = await disk.readText(journalPath(path)).catch(() => "");
  const head = headOf(file);
  const size = (await disk.fileSize(dataPath(path))) ?? 0;
  // Without a hash nobody knows whether it is the same file by now.
  if (!text.startsWith(head) || (file.sha256 ?? file.gitSha1) === undefined) return covered;
  for (const [, start, end] of text.slice(head.length).matchAll(/^(\d+) (\d+)\n/gm)) {
    const range = { start: Number(start), end: Math.min(Number(end), size, file.size) };
    covered.add(range);
  }
  return covered;
}

async function openBoth(path: string, file: ListedFile, covered: ByteRanges) {
  if (covered.bytes === 0) await discard(path);
  // One line for what many lines said, and none that was torn.
  const journalText = headOf(file) + covered.ranges.map(lineOf).join("");
  await disk.replaceFile(journalPath(path), journalText, { durable: false });
  if (covered.bytes === 0) await (await disk.open(dataPath(path), "wx")).close();
  const data = await disk.open(dataPath(path), "r+");
  try {
    return { data, journal: await disk.open(journalPath(path), "a"), covered };
  } catch (error) {
    await data.close();
    throw error;
  }
}

async function writeFully(file: FileHandle, bytes: Uint8Array, position: number): Promise<void> {
  for (let done = 0; done < bytes.byteLength; ) {
    const left = bytes.byteLength - done;
    done += (await file.write(bytes, done, left, position + done)).bytesWritten;
  }
}
