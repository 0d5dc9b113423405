// Byte-level byte-pair encoding, as Qwen's vocabularies use it. In: a vocabulary and its merges, then text. Out: ids.
// About fifty times as fast as the general library and able to pause. It knows no special tokens.

import type { TimeSlice } from "../event-loop/time-slice.ts";
import { BYTE_CHARACTERS } from "./byte-alphabet.ts";

/**
 * Where a text is cut before anything is merged: Qwen's own expression, white space as Unicode has it. The marks of a
 * contraction match in both cases, the long s among them.
 */
const WORDS =
  /'(?:[sS\u017F]|[tT]|[rR][eE]|[vV][eE]|[mM]|[lL][lL]|[dD])|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\p{White_Space}\p{L}\p{N}]+[\r\n]*|\p{White_Space}*[\r\n]+|\p{White_Space}+(?!\P{White_Space})|\p{White_Space}+/gu;

/** The same expression as tokenizer.json spells it. */
export const QWEN_WORDS =
  "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+";

/** Words up to this length are merged by looking through all pairs again and again; longer ones need a heap. */
const SHORT_WORD = 48;
/** Words that are kept with their ids. */
const KNOWN_WORDS = 20_000;
/** Merges of a long word between two looks at the clock. */
const MERGES_A_LOOK = 1024;
const NONE = -1;

/** A vocabulary that is filled piece by piece and then encodes. */
export class BytePairs {
  readonly #ids = new Map<string, number>();
  readonly #merges = new MergeTable();
  #byteIds = new Int32Array(0);
  readonly #known = new Map<string, readonly number[]>();

  addToken(spelling: string, id: number): void {
    this.#ids.set(spelling, id);
  }

  /** Merges come in the order of their rank, after all tokens. @throws Error for a merge of unknown tokens */
  addMerge(left: string, right: string): void {
    const ids = [left, right, left + right].map((spelling) => this.#ids.get(spelling));
    const [leftId, rightId, id] = ids;
    if (leftId === undefined || rightId === undefined || id === undefined) {
      throw new Error(
        `the merge of ${JSON.stringify(left)} and ${JSON.stringify(right)} makes no token`,
      );
    }
    this.#merges.add(leftId, rightId, id);
  }

  /** Without a token for each byte there are texts that cannot be encoded. */
  get hasEveryByte(): boolean {
    return BYTE_CHARACTERS.every((character) => this.#ids.has(character));
  }

  /** Ends the filling. */
  finish(): void {
    this.#byteIds = Int32Array.from(BYTE_CHARACTERS, (character) => this.#ids.get(character)!);
    this.#ids.clear();
  }

  /** Normalised text to ids, at once. */
  encode(text: string): number[] {
    const ids: number[] = [];
    for (const [word] of text.toWellFormed().matchAll(WORDS)) {
      append(ids, this.#known.get(word) ?? finish(this.#encodeWord(word)));
    }
    return ids;
  }

  /** The same with pauses. */
  async encodeInSlices(text: string, slice: TimeSlice): Promise<number[]> {
    const ids: number[] = [];
    for (const [word] of text.toWellFormed().matchAll(WORDS)) {
      if (slice.over) await slice.rest();
      const known = this.#known.get(word);
      if (known !== undefined) {
        append(ids, known);
        continue;
      }
      const work = this.#encodeWord(word);
      let step = work.next();
      while (!step.done) {
        if (slice.over) await slice.rest();
        step = work.next();
      }
      append(ids, step.value);
    }
    return ids;
  }

  /** Yields now and then while it works on a long word. */
  *#encodeWord(word: string): Generator<void, readonly number[]> {
    const bytes = Buffer.from(word, "utf8");
    const ids = Int32Array.from(bytes, (byte) => this.#byteIds[byte]!);
    if (ids.length > SHORT_WORD) return yield* mergeLong(ids, this.#merges);
    const merged = mergeShort(ids, this.#merges);
    if (this.#known.size >= KNOWN_WORDS) this.#known.clear();
    this.#known.set(word, merged);
    return merged;
  }
}

function finish<T>(work: Generator<void, T>): T {
  for (;;) {
    const step = work.next();
    if (step.done) return step.value;
  }
}

function append(ids: number[], more: readonly number[]): void {
  for (const id of more) ids.push(id);
}

/** Merges the pair of lowest rank, the leftmost of equals, until none is left. `ids` is used up. */
function mergeShort(ids: Int32Array, merges: MergeTable): readonly number[] {
  let length = ids.length;
  for (;;) {
    let best = NONE;
    let at = NONE;
    for (let i = 0; i + 1 < length; i++) {
      const entry = merges.find(ids[i]!, ids[i + 1]!);
      if (entry !== NONE && (best === NONE || entry < best)) {
        best = entry;
        at = i;
      }
    }
    if (best === NONE) return Array.from(ids.subarray(0, length));
    ids[at] = merges.idOf(best);
    ids.copyWithin(at + 1, at + 2, length);
    length--;
  }
}

/** The same for any length: the ids are a list, and a heap knows which pair is next. */
function* mergeLong(ids: Int32Array, merges: MergeTable): Generator<void, readonly number[]> {
  const before = ids.map((_, i) => i - 1);
  const after = ids.map((_, i) => (i + 1 < ids.length ? i + 1 : NONE));
  const heap = new PairHeap();
  const consider = (left: number): void => {
    const right = left === NONE ? NONE : after[left]!;
    if (right === NONE) return;
    const rank = merges.find(ids[left]!, ids[right]!);
    if (rank !== NONE) heap.push({ rank, left, ids: [ids[left]!, ids[right]!] });
  };
  for (let i = 0; i < ids.length; i++) {
    consider(i);
    if (i % MERGES_A_LOOK === MERGES_A_LOOK - 1) yield;
  }
  for (let count = 1; ; count++) {
    const pair = heap.pop();
    if (pair === undefined) break;
    if (count % MERGES_A_LOOK === 0) yield;
    const { left } = pair;
    const right = after[left]!;
    // Whoever merged one of them in the meantime left something else in its place.
    if (ids[left] !== pair.ids[0] || right === NONE || ids[right] !== pair.ids[1]) continue;
    ids[left] = merges.idOf(pair.rank);
    ids[right] = NONE;
    const next = after[right]!;
    after[left] = next;
    if (next !== NONE) before[next] = left;
    consider(before[left]!);
    consider(left);
  }
  return Array.from(ids).filter((id) => id !== NONE);
}

interface Pair {
  readonly rank: number;
  readonly left: number;
  readonly ids: readonly [left: number, right: number];
}

/** Pairs by rank, then from left to right. */
class PairHeap {
  readonly #pairs: Pair[] = [];

  push(pair: Pair): void {
    const pairs = this.#pairs;
    let at = pairs.length;
    while (at > 0) {
      const parent = (at - 1) >> 1;
      if (!comesBefore(pair, pairs[parent]!)) break;
      pairs[at] = pairs[parent]!;
      at = parent;
    }
    pairs[at] = pair;
  }

  pop(): Pair | undefined {
    const pairs = this.#pairs;
    const first = pairs[0];
    const last = pairs.pop();
    if (first === undefined || last === undefined || pairs.length === 0) return first;
    let at = 0;
    for (;;) {
      let child = 2 * at + 1;
      if (child >= pairs.length) break;
      if (child + 1 < pairs.length && comesBefore(pairs[child + 1]!, pairs[child]!)) child++;
      if (!comesBefore(pairs[child]!, last)) break;
      pairs[at] = pairs[child]!;
      at = child;
    }
    pairs[at] = last;
    return first;
  }
}

function comesBefore(a: Pair, b: Pair): boolean {
  return a.rank < b.rank || (a.rank === b.rank && a.left < b.left);
}

/** Which two tokens become which, by rank: an open hash table of plain numbers. */
class MergeTable {
  /** By rank. */
  #lefts = new Int32Array(1024);
  #rights = new Int32Array(1024);
  #results = new Int32Array(1024);
  #count = 0;
  /** Ranks, at the place that the hash of the pair says; NONE where there is none. */
  #places = new Int32Array(2048).fill(NONE);

  add(left: number, right: number, id: number): void {
    if (this.find(left, right) !== NONE) return; // the first one counts
    if (this.#count === this.#lefts.length) this.#grow();
    const rank = this.#count++;
    this.#lefts[rank] = left;
    this.#rights[rank] = right;
    this.#results[rank] = id;
    this.#place(rank);
  }

  /** The rank of a pair, or -1. */
  find(left: number, right: number): number {
    const mask = this.#places.length - 1;
    for (let at = hash(left, right) & mask; ; at = (at + 1) & mask) {
      const rank = this.#places[at]!;
      if (rank === NONE) return NONE;
      if (this.#lefts[rank] === left && this.#rights[rank] === right) return rank;
    }
  }

  idOf(rank: number): number {
    return this.#results[rank]!;
  }

  #place(rank: number): void {
    const mask = this.#places.length - 1;
    let at = hash(this.#lefts[rank]!, this.#rights[rank]!) & mask;
    while (this.#places[at] !== NONE) at = (at + 1) & mask;
    this.#places[at] = rank;
  }

  #grow(): void {
    const size = 2 * this.#lefts.length;
    const larger = (values: Int32Array) => {
      const copy = new Int32Array(size);
      copy.set(values);
      return copy;
    };
    this.#lefts = larger(this.#lefts);
    this.#rights = larger(this.#rights);
    this.#results = larger(this.#results);
    this.#places = new Int32Array(2 * size).fill(NONE);
    for (let rank = 0; rank < this.#count; rank++) this.#place(rank);
  }
}

function hash(left: number, right: number): number {
  const mixed = Math.imul(left, 0x9e3779b1) ^ Math.imul(right, 0x85ebca6b);
  return mixed ^ (mixed >>> 15);
}
