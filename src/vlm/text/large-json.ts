// A JSON file of many megabytes, read in slices so that the event loop never waits long: JSON.parse would hold it for
// a tenth of a second. In: bytes, and which containers are large. Out: the rest parsed, and the large ones piece by piece.

import type { TimeSlice } from "../event-loop/time-slice.ts";

/** Text that is parsed at once. */
const PIECE_BYTES = 32 * 1024;
/** Strings that are passed before the time is looked at. */
const STRINGS_A_LOOK = 512;

const QUOTE = 0x22;
const BACKSLASH = 0x5c;
const COMMA = 0x2c;
const COLON = 0x3a;
const OPEN_OBJECT = 0x7b;
const CLOSE_OBJECT = 0x7d;
const OPEN_ARRAY = 0x5b;
const CLOSE_ARRAY = 0x5d;

/** A large container: where it is in the file, and what to do with its entries. */
export interface LargePart {
  /** Keys from the root, such as `["model", "vocab"]`. */
  readonly path: readonly string[];
  /** Gets the entries of an object, or the items of an array, some at a time. */
  readonly take: (piece: Readonly<Record<string, unknown>> | readonly unknown[]) => void;
}

/**
 * Parses JSON whose large parts are taken piece by piece; in the result they are empty.
 *
 * @throws SyntaxError when it is no JSON; the slice's own reason when aborted
 */
export async function readLargeJson(
  bytes: Buffer,
  parts: readonly LargePart[],
  slice: TimeSlice,
): Promise<unknown> {
  const scanner = new Scanner(bytes, parts);
  const rest: string[] = [];
  let done = 0;
  for (;;) {
    const found = scanner.next();
    if (found === "pause") {
      if (slice.over) await slice.rest();
      continue;
    }
    if (found === undefined) break;
    const { part, start, cuts, end } = found;
    const [open, close] = bytes[start] === OPEN_OBJECT ? "{}" : "[]";
    rest.push(bytes.toString("utf8", done, start), `${open}${close}`);
    done = end + 1;
    let from = start + 1;
    for (const cut of [...cuts, end]) {
      part.take(JSON.parse(`${open}${bytes.toString("utf8", from, cut)}${close}`));
      from = cut + 1;
      if (slice.over) await slice.rest();
    }
  }
  rest.push(bytes.toString("utf8", done));
  return JSON.parse(rest.join("").replace(/^\uFEFF/, ""));
}

interface FoundPart {
  readonly part: LargePart;
  /** Of the opening bracket. */
  readonly start: number;
  /** Commas at which it can be cut into pieces. */
  readonly cuts: readonly number[];
  /** Of the closing bracket. */
  readonly end: number;
}

/** Walks over the structure of a file without making anything of it. Damaged files end early; parsing tells. */
class Scanner {
  readonly #bytes: Buffer;
  readonly #parts: readonly LargePart[];
  readonly #deepest: number;
  #at = 0;
  /** Opening brackets around the place, and the key that each object is at. */
  readonly #open: number[] = [];
  readonly #keys: string[] = [];
  #expectsKey = false;
  #found: { part: LargePart; start: number; depth: number; cuts: number[] } | undefined;

  constructor(bytes: Buffer, parts: readonly LargePart[]) {
    this.#bytes = bytes;
    this.#parts = parts;
    this.#deepest = Math.max(...parts.map(({ path }) => path.length));
  }

  /** The next large part; `pause` now and then; undefined at the end. */
  next(): FoundPart | "pause" | undefined {
    const bytes = this.#bytes;
    for (let strings = 0; this.#at < bytes.length; this.#at++) {
      switch (bytes[this.#at]) {
        case QUOTE:
          if (!this.#passString()) return undefined;
          if (++strings === STRINGS_A_LOOK) {
            this.#at++;
            return "pause";
          }
          break;
        case OPEN_OBJECT:
        case OPEN_ARRAY:
          this.#enter();
          break;
        case CLOSE_OBJECT:
        case CLOSE_ARRAY: {
          const part = this.#leave();
          if (part !== undefined) return part;
          break;
        }
        case COMMA:
          this.#expectsKey = this.#open.at(-1) === OPEN_OBJECT;
          this.#cut();
          break;
        case COLON:
          this.#expectsKey = false;
      }
    }
    return undefined;
  }

  /** Stops at the closing quote. */
  #passString(): boolean {
    const start = this.#at;
    let end = start;
    do {
      end = this.#bytes.indexOf(QUOTE, end + 1);
      if (end < 0) return false;
    } while (this.#isEscaped(end));
    if (this.#expectsKey && this.#open.length <= this.#deepest) {
      this.#keys[this.#open.length - 1] = JSON.parse(this.#bytes.toString("utf8", start, end + 1));
    }
    this.#at = end;
    return true;
  }

  #isEscaped(quote: number): boolean {
    let backslashes = 0;
    while (this.#bytes[quote - 1 - backslashes] === BACKSLASH) backslashes++;
    return backslashes % 2 === 1;
  }

  #enter(): void {
    const depth = this.#open.length;
    const part = this.#parts.find(
      ({ path }) => path.length === depth && path.every((key, index) => key === this.#keys[index]),
    );
    const bracket = this.#bytes[this.#at]!;
    this.#open.push(bracket);
    this.#expectsKey = bracket === OPEN_OBJECT;
    if (part !== undefined && this.#found === undefined) {
      this.#found = { part, start: this.#at, depth: this.#open.length, cuts: [] };
    }
  }

  #leave(): FoundPart | undefined {
    const found = this.#found;
    const ends = found !== undefined && found.depth === this.#open.length;
    const isObject = this.#bytes[this.#at] === CLOSE_OBJECT;
    if (this.#open.pop() !== (isObject ? OPEN_OBJECT : OPEN_ARRAY)) {
      this.#at = this.#bytes.length; // damaged
      return undefined;
    }
    this.#keys.length = Math.min(this.#keys.length, this.#open.length);
    if (!ends) return undefined;
    this.#found = undefined;
    return { ...found, end: this.#at++ };
  }

  #cut(): void {
    const found = this.#found;
    if (found?.depth !== this.#open.length) return;
    if (this.#at - (found.cuts.at(-1) ?? found.start) >= PIECE_BYTES) found.cuts.push(this.#at);
  }
}
