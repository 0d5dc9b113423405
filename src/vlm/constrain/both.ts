// Texts that several pieces all describe: their automata walked side by side.

import { ByteNfa, type Piece } from "./byte-nfa.ts";
import { minimal } from "./minimal.ts";

/** @throws TooComplexError */
export function all(first: Piece, ...others: readonly Piece[]): Piece {
  return others.reduce((sum, piece) => minimal(both(minimal(sum), minimal(piece))), first);
}

function both(one: Piece, other: Piece): Piece {
  const [a, b] = [ByteNfa.of(one), ByteNfa.of(other)];
  return (nfa, from) => {
    for (const part of [a, b]) {
      for (const set of part.sets) nfa.sets.add(set);
      for (const text of part.texts) nfa.texts.add(text);
    }
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
      for (const mine of a.transitions[left]!) {
        for (const theirs of b.transitions[right]!) {
          const first = Math.max(mine.first, theirs.first);
          const last = Math.min(mine.last, theirs.last);
          if (first <= last) nfa.move(state, first, last, pair(mine.to, theirs.to));
        }
      }
    }
    return pair(a.end, b.end);
  };
}
