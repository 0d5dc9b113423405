// How far a pull is, how fast, and how long it will take. In: bytes as they come. Out: events for whoever watches. Time is
// measured by a clock that only grows: one that jumps changes nothing.

import type { ForeignLayout } from "../foreign/foreign-files.ts";
import type { HubKind, ListedFile } from "./hub.ts";

/** What a pull is doing. Bytes; times in milliseconds. */
export type PullProgress =
  /** The hub has answered: this is what will be fetched. */
  | {
      readonly type: "resolved";
      readonly model: string;
      readonly hub: HubKind;
      readonly host: string;
      readonly revision: string;
      readonly files: number;
      readonly totalBytes: number;
    }
  /** What is needed is known, and there is room for it. */
  | {
      readonly type: "plan";
      /** Each file is converted and removed before the next one comes; else all are here first. */
      readonly oneByOne: boolean;
      /** Of a package that another program made, which is used as it is. */
      readonly layout?: ForeignLayout;
      /** Of weights. */
      readonly files: number;
      readonly totalBytes: number;
      /** That the disk has to take beside what is there, at the fullest moment. */
      readonly diskBytes: number;
    }
  | {
      readonly type: "download";
      readonly file: string;
      readonly fileBytes: number;
      readonly fileTotalBytes: number;
      readonly doneBytes: number;
      readonly totalBytes: number;
      /** Over the last seconds; 0 while nothing comes, and in the first second. */
      readonly bytesPerSecond: number;
      /** undefined while nobody can tell. */
      readonly secondsLeft: number | undefined;
    }
  /** Bytes that are here are hashed. */
  | {
      readonly type: "verify";
      readonly file: string;
      readonly doneBytes: number;
      readonly totalBytes: number;
    }
  /** A server wants to be left alone, or a line broke. */
  | { readonly type: "wait"; readonly milliseconds: number; readonly why: string }
  | { readonly type: "convert"; readonly doneBytes: number; readonly totalBytes: number };

/** The rate is that of this long. */
const WINDOW_MS = 10_000;
/** Over less than this a rate is chance. */
const LEAST_MS = 1_000;
const TELL_EVERY_MS = 200;

interface Sample {
  readonly at: number;
  readonly bytes: number;
}

export class PullMeter {
  readonly #totalBytes: number;
  readonly #tell: (progress: PullProgress) => void;
  readonly #now: () => number;
  readonly #done = new Map<string, number>();
  readonly #verified = new Map<string, number>();
  /** What came over the line, since the pull began; what was there before did not come fast. */
  #cameBytes = 0;
  #doneBytes = 0;
  #samples: Sample[] = [];
  #toldAt = Number.NEGATIVE_INFINITY;

  /** @param now milliseconds that only grow */
  constructor(
    totalBytes: number,
    tell: (progress: PullProgress) => void,
    now: () => number = () => performance.now(),
  ) {
    this.#totalBytes = totalBytes;
    this.#tell = tell;
    this.#now = now;
  }

  /** Bytes of a file that were here before. */
  found(file: ListedFile, bytes: number): void {
    this.#add(file, bytes);
    this.#show(file, true);
  }

  /** New bytes; negative when they were thrown away. */
  came(file: ListedFile, bytes: number): void {
    this.#cameBytes += Math.max(0, bytes);
    this.#add(file, bytes);
    this.#show(file, (this.#done.get(file.path) ?? 0) >= file.size);
  }

  verified(file: ListedFile, bytes: number): void {
    const before = this.#verified.get(file.path) ?? 0;
    // Hashed once more after a repeated download.
    const doneBytes = before >= file.size ? bytes : before + bytes;
    this.#verified.set(file.path, doneBytes);
    if (!this.#isTime(doneBytes >= file.size)) return;
    this.#tell({ type: "verify", file: file.path, doneBytes, totalBytes: file.size });
  }

  #add(file: ListedFile, bytes: number): void {
    this.#doneBytes += bytes;
    this.#done.set(file.path, (this.#done.get(file.path) ?? 0) + bytes);
  }

  #isTime(always: boolean): boolean {
    const now = this.#now();
    if (!always && now - this.#toldAt < TELL_EVERY_MS) return false;
    this.#toldAt = now;
    return true;
  }

  #show(file: ListedFile, always: boolean): void {
    const bytesPerSecond = this.#rate();
    if (!this.#isTime(always)) return;
    const left = this.#totalBytes - this.#doneBytes;
    this.#tell({
      type: "download",
      file: file.path,
      fileBytes: this.#done.get(file.path) ?? 0,
      fileTotalBytes: file.size,
      doneBytes: this.#doneBytes,
      totalBytes: this.#totalBytes,
      bytesPerSecond,
      secondsLeft: left <= 0 ? 0 : bytesPerSecond > 0 ? left / bytesPerSecond : undefined,
    });
  }

  #rate(): number {
    const at = this.#now();
    const last = this.#samples.at(-1);
    if (last === undefined || at - last.at >= TELL_EVERY_MS / 2) {
      this.#samples.push({ at, bytes: this.#cameBytes });
      while ((this.#samples[1]?.at ?? at) < at - WINDOW_MS) this.#samples.shift();
    }
    const first = this.#samples[0];
    if (first === undefined || at - first.at < LEAST_MS) return 0;
    return ((this.#cameBytes - first.bytes) * 1000) / (at - first.at);
  }
}
