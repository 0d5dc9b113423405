// A nondeterministic automaton over bytes, put together from pieces: literals, sets of characters, sequences, choices,
// repetitions. In: pieces. Out: states, and how far each is from the end. It knows no expressions and no JSON.

import { type CodePoints, union, utf8Sequences } from "./code-points.ts";
import { type Steps, WorkCount } from "./steps.ts";
import { TooComplexError } from "./too-complex.ts";

/** More states than this are not built: the memory of a pattern stays within a few megabytes. */
const MAX_STATES = 60_000;
/** States between two pauses. */
const STATES_A_STEP = 512;

export interface Transition {
  readonly first: number;
  readonly last: number;
  readonly to: number;
}

/** Adds itself behind a state and returns the state behind it. */
export type Piece = (nfa: ByteNfa, from: number) => Steps<number>;

/** States are numbers, the first is 0. */
export class ByteNfa {
  readonly transitions: Transition[][] = [[]];
  /** States reached without a byte. */
  readonly silent: number[][] = [[]];
  /** What it was put together from: sets of characters, and texts by letters. */
  readonly sets = new Set<CodePoints>();
  readonly texts = new Set<string>();
  end = 0;
  #paused = 0;

  static *of(piece: Piece): Steps<ByteNfa> {
    const nfa = new ByteNfa();
    nfa.end = yield* piece(nfa, 0);
    return nfa;
  }

  get size(): number {
    return this.transitions.length;
  }

  /** @throws TooComplexError */
  state(): number {
    if (this.size >= MAX_STATES) throw new TooComplexError("it has too many states");
    this.transitions.push([]);
    this.silent.push([]);
    return this.size - 1;
  }

  move(from: number, first: number, last: number, to: number): void {
    this.transitions[from]!.push({ first, last, to });
  }

  step(from: number, to: number): void {
    this.silent[from]!.push(to);
  }

  /** A pause, if many states were made since the last one. */
  *rest(): Steps<void> {
    if (this.size - this.#paused < STATES_A_STEP) return;
    this.#paused = this.size;
    yield;
  }

  /** (states) bytes to the end by the shortest way; Infinity where none leads there. */
  *distances(): Steps<Float64Array> {
    const work = new WorkCount();
    const into: { from: number; cost: number }[][] = [];
    for (let state = 0; state < this.size; state++) {
      into.push([]);
      if (work.adds(2)) yield;
    }
    for (let from = 0; from < this.size; from++) {
      const [moves, silent] = [this.transitions[from]!, this.silent[from]!];
      for (const { to } of moves) into[to]!.push({ from, cost: 1 });
      for (const to of silent) into[to]!.push({ from, cost: 0 });
      if (work.adds(2 * (moves.length + silent.length))) yield;
    }
    const distances = new Float64Array(this.size).fill(Number.POSITIVE_INFINITY);
    distances[this.end] = 0;
    // Those at one distance, then those one byte further away.
    let ring = [this.end];
    for (let distance = 0; ring.length > 0; distance++) {
      const further: number[] = [];
      for (let i = 0; i < ring.length; i++) {
        const state = ring[i]!;
        if (distances[state] !== distance) continue;
        if (work.adds(1 + into[state]!.length)) yield;
        for (const { from, cost } of into[state]!) {
          if (distances[from]! <= distance + cost) continue;
          distances[from] = distance + cost;
          (cost === 0 ? ring : further).push(from);
        }
      }
      ring = further;
    }
    return distances;
  }
}

/** Many in a row, each behind the one before. */
export function sequence(...pieces: readonly Piece[]): Piece {
  return function* (nfa, from) {
    let at = from;
    for (const piece of pieces) at = yield* piece(nfa, at);
    return at;
  };
}

export const nothing: Piece = sequence();

export function literal(text: string): Piece {
  const bytes = Buffer.from(text, "utf8");
  return function* (nfa, from) {
    nfa.texts.add(text);
    let at = from;
    for (const byte of bytes) {
      const next = nfa.state();
      nfa.move(at, byte, byte, next);
      at = next;
    }
    yield* nfa.rest();
    return at;
  };
}

/** One character of a set, in UTF-8. */
export function oneOf(set: CodePoints): Piece {
  const sequences = utf8Sequences(set);
  const sorted = union(set);
  return function* (nfa, from) {
    nfa.sets.add(sorted);
    const end = nfa.state();
    // Ways that end alike share their ends.
    const shared = new Map<string, number>();
    const behind = (rest: (typeof sequences)[number]): number => {
      const key = rest.join(";");
      if (key === "") return end;
      let state = shared.get(key);
      if (state === undefined) {
        state = nfa.state();
        shared.set(key, state);
        const [[first, last] = [0, 0], ...more] = rest;
        nfa.move(state, first, last, behind(more));
      }
      return state;
    };
    for (const [[first, last] = [0, 0], ...rest] of sequences) {
      nfa.move(from, first, last, behind(rest));
    }
    yield* nfa.rest();
    return end;
  };
}

export function either(...pieces: readonly Piece[]): Piece {
  return function* (nfa, from) {
    const end = nfa.state();
    for (const piece of pieces) {
      const start = nfa.state();
      nfa.step(from, start);
      nfa.step(yield* piece(nfa, start), end);
    }
    return end;
  };
}

/** `max` may be Infinity. */
export function repeated(piece: Piece, min: number, max: number): Piece {
  return function* (nfa, from) {
    let at = from;
    for (let i = 0; i < min; i++) at = yield* piece(nfa, at);
    if (max === Number.POSITIVE_INFINITY) {
      const loop = nfa.state();
      nfa.step(at, loop);
      nfa.step(yield* piece(nfa, loop), loop);
      return loop;
    }
    if (max === min) return at;
    const end = nfa.state();
    for (let i = min; i < max; i++) {
      nfa.step(at, end);
      const start = nfa.state();
      nfa.step(at, start);
      at = yield* piece(nfa, start);
    }
    nfa.step(at, end);
    return end;
  };
}

/** One of many texts, as a tree of their beginnings. */
export function anyText(texts: Iterable<string>): Piece {
  return function* (nfa, from) {
    const end = nfa.state();
    const root = nfa.state();
    nfa.step(from, root);
    const children = new Map<number, number>();
    for (const text of texts) {
      nfa.texts.add(text);
      let at = root;
      for (const byte of Buffer.from(text, "utf8")) {
        const key = at * 256 + byte;
        let next = children.get(key);
        if (next === undefined) {
          next = nfa.state();
          children.set(key, next);
          nfa.move(at, byte, byte, next);
        }
        at = next;
      }
      nfa.step(at, end);
      yield* nfa.rest();
    }
    return end;
  };
}
