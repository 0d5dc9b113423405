// A byte NFA made deterministic while it is used: only the states that texts reach are ever made, and no more than an
// effort allows. In: states and bytes. Out: states. It knows no tokens.

import type { Automaton } from "./automaton.ts";
import { ByteNfa, type Piece } from "./byte-nfa.ts";
import type { CodePoints } from "./code-points.ts";
import { Effort } from "./effort.ts";
import type { Steps } from "./steps.ts";

const UNKNOWN = -2;
const DEAD = -1;
/** States of one page of the table: it grows without being copied. */
const PAGE = 64;

export interface KnownStates {
  /** Pages of (64 states, classes): -1 where the byte must not come, -2 where nobody has asked yet. */
  readonly pages: readonly Int32Array[];
  /** (256) */
  readonly classes: Uint8Array;
  readonly classCount: number;
}

export class LazyDfa implements Automaton {
  readonly start: number;
  /** What is known of all states, for loops over many bytes. */
  readonly known: KnownStates;
  readonly #nfa: ByteNfa;
  readonly #effort: Effort;
  /** (256) bytes that no transition tells apart have one class. */
  readonly #classes = new Uint8Array(256);
  readonly #classCount: number;
  /** A byte of each class. */
  readonly #examples: number[] = [];
  /** (NFA states) */
  readonly #distances: Float64Array;
  /** (NFA states) when each was last seen. */
  readonly #seen: Uint32Array;
  #sights = 0;
  /** Of each state: the NFA states it stands for, those with transitions or the end. */
  readonly #members: Int32Array[] = [];
  readonly #byMembers = new Map<string, number>();
  readonly #accepting: boolean[] = [];
  readonly #distance: number[] = [];
  readonly #pages: Int32Array[] = [];
  #cost = 0;

  private constructor(nfa: ByteNfa, distances: Float64Array, effort: Effort) {
    this.#nfa = nfa;
    this.#effort = effort;
    this.#distances = distances;
    this.#seen = new Uint32Array(nfa.size);
    this.#classCount = this.#findClasses();
    this.known = { pages: this.#pages, classes: this.#classes, classCount: this.#classCount };
    this.start = this.#stateOf([0]);
  }

  /** @throws TooComplexError */
  static *of(piece: Piece, effort: Effort = new Effort()): Steps<LazyDfa> {
    const nfa = yield* ByteNfa.of(piece);
    effort.payStates(nfa.size);
    const distances = yield* nfa.distances();
    yield;
    return new LazyDfa(nfa, distances, effort);
  }

  /** Nothing at all is described. */
  get empty(): boolean {
    return this.start === DEAD;
  }

  /** States that were made so far. */
  get size(): number {
    return this.#members.length;
  }

  /** Work that making states has taken so far, as a {@link WorkCount} counts it. */
  get cost(): number {
    return this.#cost;
  }

  /** Sets of characters that it was put together from, each once. */
  get sets(): readonly CodePoints[] {
    const byName = new Map(Array.from(this.#nfa.sets, (set) => [set.join(";"), set]));
    return [...byName.values()];
  }

  /** States may be made before a text reaches them. */
  get light(): boolean {
    return this.#effort.light;
  }

  /** Texts by letters that it was put together from. */
  get texts(): ReadonlySet<string> {
    return this.#nfa.texts;
  }

  /** A byte of each class: bytes up to the next one lead to the same states. */
  get classes(): readonly number[] {
    return this.#examples;
  }

  next(state: number, byte: number): number {
    const page = this.#pages[state >>> 6]!;
    const place = (state & (PAGE - 1)) * this.#classCount + this.#classes[byte]!;
    const known = page[place]!;
    if (known !== UNKNOWN) return known;
    const next = this.#move(state, this.#examples[this.#classes[byte]!]!);
    page[place] = next;
    return next;
  }

  accepting(state: number): boolean {
    return this.#accepting[state]!;
  }

  distance(state: number): number {
    return this.#distance[state]!;
  }

  #move(state: number, byte: number): number {
    const reached: number[] = [];
    let looked = 0;
    for (const member of this.#members[state]!) {
      const transitions = this.#nfa.transitions[member]!;
      looked += transitions.length;
      for (const { first, last, to } of transitions) {
        if (first <= byte && byte <= last) reached.push(to);
      }
    }
    this.#cost += 4 + looked;
    return reached.length === 0 ? DEAD : this.#stateOf(reached);
  }

  #stateOf(reached: readonly number[]): number {
    const members = this.#closure(reached);
    if (members.length === 0) return DEAD;
    const key = Buffer.from(members.buffer).toString("latin1");
    const known = this.#byMembers.get(key);
    if (known !== undefined) return known;
    const state = this.#members.length;
    this.#effort.payMembers(members.length, this.#classCount);
    this.#byMembers.set(key, state);
    this.#members.push(members);
    this.#accepting.push(members.includes(this.#nfa.end));
    this.#distance.push(members.reduce((least, at) => Math.min(least, this.#distances[at]!), DEEP));
    if (state % PAGE === 0) {
      this.#pages.push(new Int32Array(PAGE * this.#classCount).fill(UNKNOWN));
    }
    return state;
  }

  /** Everything reached without a byte that leads to an end. */
  #closure(reached: readonly number[]): Int32Array {
    const [seen, sight] = [this.#seen, ++this.#sights];
    const open = [...reached];
    const members: number[] = [];
    for (let state = open.pop(); state !== undefined; state = open.pop()) {
      this.#cost += 4;
      if (seen[state] === sight || this.#distances[state] === Number.POSITIVE_INFINITY) continue;
      seen[state] = sight;
      if (state === this.#nfa.end || this.#nfa.transitions[state]!.length > 0) members.push(state);
      for (const next of this.#nfa.silent[state]!) open.push(next);
    }
    return Int32Array.from(members).sort();
  }

  #findClasses(): number {
    const cuts = new Uint8Array(257);
    cuts[0] = 1;
    for (const transitions of this.#nfa.transitions) {
      for (const { first, last } of transitions) {
        cuts[first] = 1;
        cuts[last + 1] = 1;
      }
    }
    let count = -1;
    for (let byte = 0; byte < 256; byte++) {
      if (cuts[byte]) {
        count++;
        this.#examples.push(byte);
      }
      this.#classes[byte] = count;
    }
    return count + 1;
  }
}

const DEEP = Number.POSITIVE_INFINITY;
