// Texts that several pieces all describe: their automata walked side by side.

import { ByteNfa, type Piece } from "./byte-nfa.ts";
import { minimal } from "./minimal.ts";
import { type Steps, WorkCount } from "./steps.ts";

/** @throws TooComplexError */
export function* all(first: Piece, ...others: readonly Piece[]): Steps<Piece> {
  let sum = yield* minimal(first);
  for (const other of others) sum = yield* minimal(yield* both(sum, yield* minimal(other)));
  return sum;
}

function* both(one: Piece, other: Piece): Steps<Piece> {
  const [a, b] = [yield* ByteNfa.of(one), yield* ByteNfa.of(other)];
  return (nfa, from) => walkBoth(a, b, nfa, from);
}

function* walkBoth(a: ByteNfa, b: ByteNfa, nfa: ByteNfa, from: number): Steps<number> {
  for (const part of [a, b]) {
    for (const set of part.sets) nfa.sets.add(set);
    for (const text of part.texts) nfa.texts.add(text);
  }
  const work = new WorkCount();
  const states = new Map<number, number>();
  const open: (readonly [number, number, number])[] = [];
  const pair = (left: number, right: number): number => {
    const key = left * b.size + right;
    let state = states.get(key);
    if (state === undefined) {
      state = nfa.state();
      states.set(key, state);
      open.push([left, right, state]);
    }
    return state;
  };
  nfa.step(from, pair(0, 0));
  for (let next = open.pop(); next; next = open.pop()) {
    const [left, right, state] = next;
    for (const to of a.silent[left]!) nfa.step(state, pair(to, right));
    for (const to of b.silent[right]!) nfa.step(state, pair(left, to));
    const [mine, theirs] = [a.transitions[left]!, b.transitions[right]!];
    for (const { first: mineFirst, last: mineLast, to: mineTo } of mine) {
      for (const { first: theirFirst, last: theirLast, to: theirTo } of theirs) {
        const first = Math.max(mineFirst, theirFirst);
        const last = Math.min(mineLast, theirLast);
        if (first <= last) nfa.move(state, first, last, pair(mineTo, theirTo));
      }
    }
    if (work.adds(8 + mine.length * theirs.length)) yield;
  }
  return pair(a.end, b.end);
}
