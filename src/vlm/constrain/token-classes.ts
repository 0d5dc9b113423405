// Tokens that no state of an automaton tells apart, as one: spelled in the kinds of characters that its sets know. Of
// 150,000 tokens a pattern of wide sets sees a few thousand kinds, so a walk for one more of its states is short.
// In: the tree of all tokens, the sets of an automaton. Out: a small tree, and what a state allows. It knows no grammars.

import type { CharacterKinds } from "./character-kinds.ts";
import type { LazyDfa } from "./lazy-dfa.ts";
import { allow, forbid, type LocalMask } from "./local-mask.ts";
import { type Steps, WorkCount } from "./steps.ts";
import { LONGEST_TOKEN, type TokenTrie } from "./token-trie.ts";

/** Edges from here on are single bytes: the end of a character that the token before has begun. */
const BYTES = 1 << 16;
/** Edges from here on are beginnings of characters that the token after will end, by the kinds that may become of them. */
const CUTS = 2 * BYTES;
/** States that are made ahead. */
const MOST_EXPLORED = 2000;

/** The tokens of one vocabulary, as one partition of all characters spells them. */
export class TokenClasses {
  readonly #kinds: CharacterKinds;
  /** Of those with several members: examples of each. */
  readonly #groups: readonly (readonly Uint8Array[])[];
  /** Of beginnings of characters: all kinds that each may become. */
  readonly #cuts: readonly (readonly number[])[];
  /** (classes) what is in front of the last character, -1 for the empty text, and that character's kind, byte or cut. */
  readonly #parents: number[] = [];
  readonly #edges: number[] = [];
  /** (trie nodes) -1 where the text is none, or ends inside a character. */
  readonly #classOf: Int32Array;
  /** Token ids by class, and (classes + 1) where those of each begin. */
  readonly #ids: Int32Array;
  readonly #firstId: Int32Array;
  /** All of these ids. */
  readonly #all: Uint32Array;

  private constructor(kinds: CharacterKinds, found: Found, tokens: TokensByClass) {
    this.#kinds = kinds;
    this.#groups = [...kinds.groups()].filter(({ length }) => length > 1);
    this.#cuts = found.cuts;
    this.#parents = found.parents;
    this.#edges = found.edges;
    this.#classOf = found.classOf;
    this.#firstId = tokens.firstId;
    this.#ids = tokens.ids;
    this.#all = tokens.all;
  }

  /** Reads the whole vocabulary. */
  static *build(trie: TokenTrie, kinds: CharacterKinds): Steps<TokenClasses> {
    const found = yield* readTokens(trie, kinds);
    return new TokenClasses(kinds, found, yield* byClass(found, trie.vocabSize));
  }

  /** Of its memory. */
  get bytes(): number {
    return 4 * (this.#classOf.length + this.#ids.length + this.#all.length);
  }

  /** Makes the states that texts will soon reach, while nobody waits for a mask. */
  *explore(automaton: LazyDfa): Steps<void> {
    const work = new WorkCount();
    const examples = [...this.#kinds.groups()].flat();
    for (let state = 0; state < Math.min(automaton.size, MOST_EXPLORED); state++) {
      for (const example of examples) {
        if (!automaton.light) return;
        const before = automaton.cost;
        steps(automaton, state, example);
        if (work.adds(4 + automaton.cost - before)) yield;
      }
    }
  }

  /**
   * What a state allows, whatever follows it. Undefined for one that tells apart what is one kind here: inside a text by
   * letters, where few tokens may come.
   *
   * @throws TooComplexError
   */
  *from(automaton: LazyDfa, start: number): Steps<LocalMask | undefined> {
    const work = new WorkCount();
    if (!(yield* this.#fit(automaton, start, work))) return undefined;
    const count = this.#parents.length;
    const states = new Int32Array(count);
    const ends = new Uint8Array(count);
    let alive = 0;
    for (let at = 0; at < count; at++) {
      const parent = this.#parents[at]!;
      const before = parent === -1 ? start : states[parent]!;
      const cost = automaton.cost;
      const state = before < 0 ? -1 : this.#step(automaton, before, this.#edges[at]!);
      if (work.adds(2 + automaton.cost - cost)) yield;
      states[at] = state;
      if (state < 0) continue;
      alive += this.#firstId[at + 1]! - this.#firstId[at]!;
      if (automaton.accepting(state)) ends[at] = 1;
    }
    // Whichever are fewer are gone through one by one.
    const most = alive > this.#ids.length / 2;
    const bits = most ? this.#all.slice() : new Uint32Array(this.#all.length);
    for (let at = 0; at < count; at++) {
      if (states[at]! < 0 !== most) continue;
      for (let i = this.#firstId[at]!; i < this.#firstId[at + 1]!; i++) {
        if (most) forbid(bits, this.#ids[i]!);
        else allow(bits, this.#ids[i]!);
      }
    }
    yield;
    const classOf = this.#classOf;
    const mayEnd = (node: number) => classOf[node]! >= 0 && ends[classOf[node]!] === 1;
    return { ids: undefined, bits, exits: new Int32Array(0), mayEnd };
  }

  *#fit(automaton: LazyDfa, state: number, work: WorkCount): Steps<boolean> {
    for (const [first, ...others] of this.#groups) {
      const before = automaton.cost;
      const to = steps(automaton, state, first!);
      if (others.some((example) => steps(automaton, state, example) !== to)) return false;
      if (work.adds(4 * (1 + others.length) + automaton.cost - before)) yield;
    }
    return true;
  }

  /** Where the automaton does not tell characters of one kind apart, their beginnings are as good as they are. */
  #mayBegin(automaton: LazyDfa, from: number, kinds: readonly number[]): boolean {
    return kinds.some((kind) => steps(automaton, from, this.#kinds.example(kind)) >= 0);
  }

  #step(automaton: LazyDfa, from: number, edge: number): number {
    if (edge >= CUTS) return this.#mayBegin(automaton, from, this.#cuts[edge - CUTS]!) ? from : -1;
    if (edge >= BYTES) return automaton.next(from, edge - BYTES);
    return steps(automaton, from, this.#kinds.example(edge));
  }
}

/** @returns -1 where these bytes must not come */
function steps(automaton: LazyDfa, from: number, bytes: Uint8Array): number {
  let state = from;
  for (const byte of bytes) {
    if (state < 0) break;
    state = automaton.next(state, byte);
  }
  return state;
}

interface Found {
  readonly cuts: (readonly number[])[];
  readonly parents: number[];
  readonly edges: number[];
  readonly classOf: Int32Array;
  readonly tokens: number[];
  readonly tokenClass: number[];
}

interface TokensByClass {
  readonly ids: Int32Array;
  readonly firstId: Int32Array;
  readonly all: Uint32Array;
}

function* byClass({ parents, tokens, tokenClass }: Found, vocabSize: number): Steps<TokensByClass> {
  const work = new WorkCount();
  const firstId = new Int32Array(parents.length + 1);
  for (const at of tokenClass) {
    firstId[at + 1]!++;
    if (work.adds(1)) yield;
  }
  for (let i = 0; i < parents.length; i++) firstId[i + 1]! += firstId[i]!;
  const ids = new Int32Array(tokens.length);
  const next = firstId.slice();
  const all = new Uint32Array(Math.ceil(vocabSize / 32));
  for (const [index, id] of tokens.entries()) {
    ids[next[tokenClass[index]!]!++] = id;
    allow(all, id);
    if (work.adds(2)) yield;
  }
  return { ids, firstId, all };
}

/** How far a token has come. */
interface Reading {
  /** Class of the whole characters so far; -1: none yet. */
  at: number;
  /** Bytes of a character that is not whole, and how many are missing. */
  code: number;
  missing: number;
  length: number;
  /** Only bytes that end a character of the token before. */
  tail: boolean;
  /** So many characters more may be letters of a text that began in this token. */
  fine: number;
}

function* readTokens(
  { byte, depth, end, token, nodes }: TokenTrie,
  kinds: CharacterKinds,
): Steps<Found> {
  const found: Found = {
    cuts: [],
    parents: [],
    edges: [],
    classOf: new Int32Array(nodes).fill(-1),
    tokens: [],
    tokenClass: [],
  };
  const children = new Map<number, number>();
  const child = (parent: number, edge: number): number => {
    const key = (parent + 1) * (2 * CUTS) + edge;
    let at = children.get(key);
    if (at === undefined) {
      at = found.parents.push(parent) - 1;
      found.edges.push(edge);
      children.set(key, at);
    }
    return at;
  };
  const cuts = new Cuts(kinds, found.cuts);
  const path: Reading[] = Array.from({ length: LONGEST_TOKEN + 1 }, () => ({
    at: -1,
    code: 0,
    missing: 0,
    length: 0,
    tail: true,
    fine: 0,
  }));
  const work = new WorkCount();
  for (let node = 0; node < nodes; ) {
    if (work.adds(2)) yield;
    const level = depth[node]!;
    const [before, now] = [path[level - 1]!, path[level]!];
    if (!read(before, byte[node]!, now, kinds, child)) {
      node = end[node]!;
      continue;
    }
    if (now.missing === 0) found.classOf[node] = now.at;
    const id = token[node]!;
    if (id >= 0) {
      found.tokens.push(id);
      found.tokenClass.push(now.missing === 0 ? now.at : child(now.at, CUTS + cuts.of(now)));
    }
    node++;
  }
  return found;
}

/** Takes one more byte. @returns false where no text goes on so */
function read(
  before: Reading,
  byte: number,
  now: Reading,
  kinds: CharacterKinds,
  child: (parent: number, edge: number) => number,
): boolean {
  now.at = before.at;
  now.code = 0;
  now.missing = 0;
  now.length = 0;
  now.tail = false;
  now.fine = before.fine;
  const continues = byte >= 0x80 && byte < 0xc0;
  if (before.missing > 0) {
    if (!continues) return false;
    now.code = (before.code << 6) | (byte & 0x3f);
    now.missing = before.missing - 1;
    now.length = before.length;
    if (now.missing > 0) return true;
    if (now.code < LEAST_OF_LENGTH[now.length]!) return false;
  } else if (continues) {
    // Only at the beginning: the rest of a character that has begun in the token before.
    if (!before.tail) return false;
    now.tail = true;
    // The text that the token before is in may go on.
    now.fine = kinds.reach;
    now.at = child(before.at, BYTES + byte);
    return true;
  } else if (byte >= 0x80) {
    // No character begins so.
    if (byte < 0xc2 || byte > 0xf4) return false;
    now.length = byte < 0xe0 ? 2 : byte < 0xf0 ? 3 : 4;
    now.missing = now.length - 1;
    now.code = byte & (0x7f >> now.length);
    return true;
  } else {
    now.code = byte;
  }
  const kind = kinds.of(now.code, now.fine > 0);
  // A character of no set is in no text.
  if (kind === undefined) return false;
  now.at = child(before.at, kind);
  now.fine = kinds.begins(now.code) ? kinds.reach : Math.max(0, now.fine - 1);
  return true;
}

/** By the bytes that a character takes: less is spelled otherwise. */
const LEAST_OF_LENGTH = [0, 0, 0x80, 0x800, 0x1_0000];

/** Beginnings of characters, told apart by nothing but the kinds that may become of them. */
class Cuts {
  readonly #kinds: CharacterKinds;
  readonly #all: (readonly number[])[];
  readonly #byBytes = new Map<string, number>();
  readonly #byKinds = new Map<string, number>();

  /** @param all where they are listed */
  constructor(kinds: CharacterKinds, all: (readonly number[])[]) {
    this.#kinds = kinds;
    this.#all = all;
  }

  of({ code, missing, length, fine }: Reading): number {
    const bytes = `${code} ${missing} ${length} ${fine > 0}`;
    let cut = this.#byBytes.get(bytes);
    if (cut === undefined) {
      const first = Math.max(code << (6 * missing), LEAST_OF_LENGTH[length]!);
      cut = this.#numberOf(this.#kinds.within(first, ((code + 1) << (6 * missing)) - 1, fine > 0));
      this.#byBytes.set(bytes, cut);
    }
    return cut;
  }

  #numberOf(kinds: readonly number[]): number {
    const name = kinds.toSorted((a, b) => a - b).join();
    const number = this.#byKinds.get(name) ?? this.#all.push(kinds) - 1;
    this.#byKinds.set(name, number);
    return number;
  }
}
