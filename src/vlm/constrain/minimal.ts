// The same texts with the fewest states: what is put together from many pieces would grow with each of them.
// In: a piece. Out: a piece whose states are those of its smallest deterministic automaton, where that is small enough.

import type { ByteNfa, Piece } from "./byte-nfa.ts";
import type { CodePoints } from "./code-points.ts";
import { equalStates } from "./equal-states.ts";
import { LazyDfa } from "./lazy-dfa.ts";
import { type Steps, WorkCount } from "./steps.ts";
import { TooComplexError } from "./too-complex.ts";

/** More states than this are not looked at: the piece stays as it is. */
const MAX_STATES = 4_000;

export function* minimal(piece: Piece): Steps<Piece> {
  const table = yield* explored(piece);
  if (!table) return piece;
  // Texts of other lengths tell apart what is not equally far from its end.
  const blocks = yield* equalStates(table.next, table.distance);
  return (nfa, from) => build(nfa, from, table, blocks);
}

interface Table {
  /** First byte of each class, in rising order. */
  readonly classes: readonly number[];
  /** (states, classes) -1: none. The first state is the start. */
  readonly next: readonly (readonly number[])[];
  readonly accepting: readonly boolean[];
  /** Bytes to the end by the shortest way. */
  readonly distance: readonly number[];
  /** What it was put together from. */
  readonly sets: readonly CodePoints[];
  readonly texts: ReadonlySet<string>;
}

function* explored(piece: Piece): Steps<Table | undefined> {
  try {
    const dfa = yield* LazyDfa.of(piece);
    if (dfa.empty) return undefined;
    const { classes } = dfa;
    const work = new WorkCount();
    const next: number[][] = [];
    // States are numbered as they are found.
    for (let state = 0; state < dfa.size; state++) {
      if (state >= MAX_STATES) return undefined;
      const row: number[] = [];
      for (const byte of classes) {
        const before = dfa.cost;
        row.push(dfa.next(state, byte));
        if (work.adds(1 + dfa.cost - before)) yield;
      }
      next.push(row);
    }
    const accepting = next.map((_, state) => dfa.accepting(state));
    const distance = next.map((_, state) => dfa.distance(state));
    return { classes, next, accepting, distance, sets: dfa.sets, texts: dfa.texts };
  } catch (error) {
    if (error instanceof TooComplexError) return undefined;
    throw error;
  }
}

function* build(nfa: ByteNfa, from: number, table: Table, blocks: Int32Array): Steps<number> {
  const { classes, next, accepting, sets, texts } = table;
  for (const set of sets) nfa.sets.add(set);
  for (const text of texts) nfa.texts.add(text);
  const work = new WorkCount();
  const end = nfa.state();
  const states = new Map<number, number>();
  const stateOf = (block: number): number => {
    const state = states.get(block) ?? nfa.state();
    states.set(block, state);
    return state;
  };
  nfa.step(from, stateOf(blocks[0]!));
  const done = new Set<number>();
  for (const [state, row] of next.entries()) {
    const block = blocks[state]!;
    if (done.has(block)) continue;
    done.add(block);
    const mine = stateOf(block);
    if (accepting[state]) nfa.step(mine, end);
    for (const [index, to] of row.entries()) {
      if (to < 0) continue;
      const last = (classes[index + 1] ?? 256) - 1;
      nfa.move(mine, classes[index]!, last, stateOf(blocks[to]!));
    }
    if (work.adds(4 * row.length)) yield;
  }
  return end;
}
