// The same texts with the fewest states: what is put together from many pieces would grow with each of them.
// In: a piece. Out: a piece whose states are those of its smallest deterministic automaton, where that is small enough.

import type { ByteNfa, Piece } from "./byte-nfa.ts";
import type { CodePoints } from "./code-points.ts";
import { LazyDfa } from "./lazy-dfa.ts";
import { TooComplexError } from "./too-complex.ts";

/** More states than this are not looked at: the piece stays as it is. */
const MAX_STATES = 4_000;

export function minimal(piece: Piece): Piece {
  const table = explored(piece);
  if (!table) return piece;
  const blocks = merged(table);
  return (nfa, from) => build(nfa, from, table, blocks);
}

interface Table {
  /** First byte of each class, in rising order. */
  readonly classes: readonly number[];
  /** (states, classes) -1: none. The first state is the start. */
  readonly next: readonly (readonly number[])[];
  readonly accepting: readonly boolean[];
  /** What it was put together from. */
  readonly sets: readonly CodePoints[];
  readonly texts: ReadonlySet<string>;
}

function explored(piece: Piece): Table | undefined {
  try {
    const dfa = new LazyDfa(piece);
    if (dfa.empty) return undefined;
    const { classes } = dfa;
    const next: number[][] = [];
    // States are numbered as they are found.
    for (let state = 0; state < dfa.size; state++) {
      if (state >= MAX_STATES) return undefined;
      next.push(classes.map((byte) => dfa.next(state, byte)));
    }
    const accepting = next.map((_, state) => dfa.accepting(state));
    return { classes, next, accepting, sets: dfa.sets, texts: dfa.texts };
  } catch (error) {
    if (error instanceof TooComplexError) return undefined;
    throw error;
  }
}

/** (states) States with one number cannot be told apart by any text. */
function merged({ next, accepting }: Table): number[] {
  let blocks = accepting.map(Number);
  for (let count = 0; ; ) {
    const numbers = new Map<string, number>();
    const refined = next.map((row, state) => {
      const key = `${blocks[state]}:${row.map((to) => (to < 0 ? -1 : blocks[to])).join()}`;
      const known = numbers.get(key) ?? numbers.size;
      numbers.set(key, known);
      return known;
    });
    blocks = refined;
    if (numbers.size === count) return blocks;
    count = numbers.size;
  }
}

function build(nfa: ByteNfa, from: number, table: Table, blocks: readonly number[]): number {
  const { classes, next, accepting, sets, texts } = table;
  for (const set of sets) nfa.sets.add(set);
  for (const text of texts) nfa.texts.add(text);
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
  }
  return end;
}
