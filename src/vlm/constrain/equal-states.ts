// Which states of a deterministic automaton no text tells apart, after Hopcroft: blocks are split by where their states
// lead, and of two halves only the smaller is looked at again. In: a table. Out: a number for each state.

import { type Steps, WorkCount } from "./steps.ts";

/** @param next (states, classes) -1: none @param apart (states) states with different numbers are apart from the start */
export function* equalStates(
  next: readonly (readonly number[])[],
  apart: readonly number[],
): Steps<Int32Array> {
  const classes = next[0]?.length ?? 0;
  const into = yield* sourcesOf(next, classes);
  const blocks = new Blocks(apart);
  const work = new WorkCount();
  const open = [...blocks.numbers];
  for (let block = open.pop(); block !== undefined; block = open.pop()) {
    const members = blocks.membersOf(block);
    for (let at = 0; at < classes; at++) {
      for (const state of members) {
        const place = state * classes + at;
        for (let i = into.first[place]!; i < into.first[place + 1]!; i++) {
          blocks.mark(into.sources[i]!);
          if (work.adds(2)) yield;
        }
      }
      for (const half of blocks.split()) open.push(half);
      if (work.adds(2 * members.length)) yield;
    }
  }
  return blocks.of;
}

interface Sources {
  /** (states * classes + 1) where those begin that lead to a state by a class */
  readonly first: Int32Array;
  readonly sources: Int32Array;
}

function* sourcesOf(next: readonly (readonly number[])[], classes: number): Steps<Sources> {
  const work = new WorkCount();
  const first = new Int32Array(next.length * classes + 1);
  for (const row of next) {
    for (const [at, to] of row.entries()) if (to >= 0) first[to * classes + at + 1]!++;
    if (work.adds(classes)) yield;
  }
  for (let place = 1; place < first.length; place++) first[place]! += first[place - 1]!;
  const sources = new Int32Array(first.at(-1)!);
  const filled = first.slice();
  for (const [state, row] of next.entries()) {
    for (const [at, to] of row.entries()) {
      if (to >= 0) sources[filled[to * classes + at]!++] = state;
    }
    if (work.adds(classes)) yield;
  }
  return { first, sources };
}

/** States in blocks, of which some are marked to be split off. */
class Blocks {
  /** (states) */
  readonly of: Int32Array;
  /** States block by block, the marked ones of each in front; and where each state is. */
  readonly #order: Int32Array;
  readonly #place: Int32Array;
  /** Of each block. */
  readonly #first: number[] = [];
  readonly #size: number[] = [];
  readonly #marked: number[] = [];
  #touched: number[] = [];

  constructor(apart: readonly number[]) {
    this.#order = Int32Array.from(apart.keys()).sort((a, b) => apart[a]! - apart[b]!);
    this.#place = new Int32Array(apart.length);
    this.of = new Int32Array(apart.length);
    for (const [place, state] of this.#order.entries()) {
      this.#place[state] = place;
      const before = this.#order[place - 1];
      if (before === undefined || apart[before] !== apart[state]) this.#add(place, 0);
      this.#size[this.#size.length - 1]!++;
      this.of[state] = this.#size.length - 1;
    }
  }

  get numbers(): Iterable<number> {
    return this.#first.keys();
  }

  membersOf(block: number): Int32Array {
    const first = this.#first[block]!;
    return this.#order.slice(first, first + this.#size[block]!);
  }

  mark(state: number): void {
    const block = this.of[state]!;
    const [at, front] = [this.#place[state]!, this.#first[block]! + this.#marked[block]!];
    if (at < front) return;
    const other = this.#order[front]!;
    this.#order[front] = state;
    this.#order[at] = other;
    this.#place[state] = front;
    this.#place[other] = at;
    if (this.#marked[block]!++ === 0) this.#touched.push(block);
  }

  /** Parts the marked states of each block from the others. @returns the smaller halves */
  split(): number[] {
    const halves: number[] = [];
    for (const block of this.#touched) {
      const [first, size, marked] = [this.#first[block]!, this.#size[block]!, this.#marked[block]!];
      this.#marked[block] = 0;
      if (marked === size) continue;
      const fewMarked = 2 * marked <= size;
      const half = fewMarked ? this.#add(first, marked) : this.#add(first + marked, size - marked);
      if (fewMarked) this.#first[block] = first + marked;
      this.#size[block] = fewMarked ? size - marked : marked;
      for (const state of this.membersOf(half)) this.of[state] = half;
      halves.push(half);
    }
    this.#touched = [];
    return halves;
  }

  #add(first: number, size: number): number {
    this.#size.push(size);
    this.#marked.push(0);
    return this.#first.push(first) - 1;
  }
}
