// What one automaton allows in one state, whatever follows it: found by walking the tree of all tokens.
// In: an automaton and a state. Out: tokens, and the nodes where the automaton may end inside a token.

import type { LazyDfa } from "./lazy-dfa.ts";
import { type Steps, WorkCount } from "./steps.ts";
import { LONGEST_TOKEN, type TokenTrie } from "./token-trie.ts";

/** Bit `id % 32` of word `id / 32` is set for a token that may come. */
export type TokenMask = Uint32Array;

export interface LocalMask {
  /** A list where they are few, else bits. */
  readonly ids: Int32Array | undefined;
  readonly bits: TokenMask | undefined;
  /** Nodes, with others below them, at which the automaton may end. */
  readonly exits: Int32Array;
  /** In the place of a list of very many: may the automaton end at this node? */
  readonly mayEnd?: ((node: number) => boolean) | undefined;
}

/** More tokens than this are cheaper as bits. */
const FEW = 512;

/** What a walk writes into. */
interface Notes {
  readonly path: Int32Array;
  readonly ids: Int32Array;
  readonly exits: Int32Array;
}

/** Walks the tokens of one vocabulary. Its notes are used again for every walk. */
export class TokenWalk {
  readonly #trie: TokenTrie;
  /** Of walks that are over. */
  readonly #free: Notes[] = [];

  constructor(trie: TokenTrie) {
    this.#trie = trie;
  }

  /** @throws TooComplexError */
  *from(automaton: LazyDfa, start: number): Steps<LocalMask> {
    const notes = this.#free.pop() ?? this.#newNotes();
    try {
      return yield* this.#walk(automaton, start, notes);
    } finally {
      this.#free.push(notes);
    }
  }

  *#walk(automaton: LazyDfa, start: number, { path, ids, exits }: Notes): Steps<LocalMask> {
    const { byte, depth, end, token, nodes } = this.#trie;
    const { pages, classes, classCount } = automaton.known;
    const work = new WorkCount();
    let [count, exitCount, cost] = [0, 0, automaton.cost];
    path[0] = start;
    for (let node = 0; node < nodes; ) {
      const at = depth[node]!;
      const above = path[at - 1]!;
      let state = pages[above >>> 6]![(above & 63) * classCount + classes[byte[node]!]!]!;
      if (state === -2) state = automaton.next(above, byte[node]!);
      if (work.adds(1 + automaton.cost - cost)) yield;
      cost = automaton.cost;
      if (state < 0) {
        node = end[node]!;
        continue;
      }
      path[at] = state;
      const id = token[node]!;
      if (id >= 0) ids[count++] = id;
      if (end[node]! > node + 1 && automaton.accepting(state)) exits[exitCount++] = node;
      node++;
    }
    return maskOf(ids.subarray(0, count), exits.slice(0, exitCount), this.#trie.vocabSize);
  }

  #newNotes(): Notes {
    return {
      path: new Int32Array(LONGEST_TOKEN + 1),
      ids: new Int32Array(this.#trie.vocabSize),
      exits: new Int32Array(this.#trie.nodes),
    };
  }
}

export function maskOf(ids: Int32Array, exits: Int32Array, vocabSize: number): LocalMask {
  if (ids.length <= FEW) return { ids: ids.slice(), bits: undefined, exits };
  const bits = new Uint32Array(Math.ceil(vocabSize / 32));
  for (const id of ids) allow(bits, id);
  return { ids: undefined, bits, exits };
}

export function maskBytes({ ids, bits, exits }: LocalMask): number {
  return 64 + (ids?.byteLength ?? 0) + (bits?.byteLength ?? 0) + exits.byteLength;
}

export function allows(mask: TokenMask, id: number): boolean {
  return ((mask[id >>> 5] ?? 0) & (1 << (id & 31))) !== 0;
}

export function allow(mask: TokenMask, id: number): void {
  mask[id >>> 5]! |= 1 << (id & 31);
}

export function forbid(mask: TokenMask, id: number): void {
  mask[id >>> 5]! &= ~(1 << (id & 31));
}
