// A byte NFA made deterministic while it is used: only the states that texts reach are ever made, and no more than an
// effort allows. In: states and bytes. Out: states. It knows no tokens.

import type { Automaton } from "./automaton.ts";
import { ByteNfa, type Piece } from "./byte-nfa.ts";
import type { CodePoints } from "./code-points.ts";
import { Effort } from "./effort.ts";

const UNKNOWN = -2;
const DEAD = -1;

export interface KnownStates {
  /** (states, classes) -1 where the byte must not come, -2 where nobody has asked yet. */
  readonly next: Int32Array;
  /** (256) */
  readonly classes: Uint8Array;
  readonly classCount: number;
}

export class LazyDfa implements Automaton {
  readonly start: number;
  readonly #nfa: ByteNfa;
  readonly #effort: Effort;
  /** (256) bytes that no transition tells apart have one class. */
  readonly #classes = new Uint8Array(256);
  readonly #classCount: number;
  /** A byte of each class. */
  readonly #examples: number[] = [];
  /** (NFA states) */
  readonly #distances: Float64Array;
  /** Of each state: the NFA states it stands for, those with transitions or the end. */
  readonly #members: Int32Array[] = [];
  readonly #byMembers = new Map<string, number>();
  readonly #accepting: boolean[] = [];
  readonly #distance: number[] = [];
  /** (states, classes) */
  #table = new Int32Array(0);

  /** @throws TooComplexError; Error where the piece describes nothing at all */
  constructor(piece: Piece, effort: Effort = new Effort()) {
    this.#effort = effort;
    this.#nfa = ByteNfa.of(piece);
    effort.payStates(this.#nfa.size);
    this.#distances = this.#nfa.distances();
    this.#classCount = this.#findClasses();
    this.start = this.#stateOf([0]);
  }

  /** Nothing at all is described. */
  get empty(): boolean {
    return this.start === DEAD;
  }

  /** States that were made so far. */
  get size(): number {
    return this.#members.length;
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
    const place = state * this.#classCount + this.#classes[byte]!;
    const known = this.#table[place]!;
    if (known !== UNKNOWN) return known;
    const next = this.#move(state, this.#examples[this.#classes[byte]!]!);
    this.#table[place] = next;
    return next;
  }

  /** What is known of all states, for loops over many bytes. Valid until `next` makes another state. */
  get known(): KnownStates {
    return { next: this.#table, classes: this.#classes, classCount: this.#classCount };
  }

  accepting(state: number): boolean {
    return this.#accepting[state]!;
  }

  distance(state: number): number {
    return this.#distance[state]!;
  }

  #move(state: number, byte: number): number {
    const reached: number[] = [];
    for (const member of this.#members[state]!) {
      for (const { first, last, to } of this.#nfa.transitions[member]!) {
        if (first <= byte && byte <= last) reached.push(to);
      }
    }
    return reached.length === 0 ? DEAD : this.#stateOf(reached);
  }

  #stateOf(reached: readonly number[]): number {
    const members = this.#closure(reached);
    if (members.length === 0) return DEAD;
    const key = members.join();
    const known = this.#byMembers.get(key);
    if (known !== undefined) return known;
    const state = this.#members.length;
    this.#effort.payMembers(members.length);
    this.#byMembers.set(key, state);
    this.#members.push(members);
    this.#accepting.push(members.includes(this.#nfa.end));
    this.#distance.push(Math.min(...Array.from(members, (member) => this.#distances[member]!)));
    this.#growTable();
    return state;
  }

  /** Everything reached without a byte that leads to an end. */
  #closure(reached: readonly number[]): Int32Array {
    const seen = new Set<number>();
    const open = [...reached];
    const members: number[] = [];
    for (let state = open.pop(); state !== undefined; state = open.pop()) {
      if (seen.has(state) || this.#distances[state] === Number.POSITIVE_INFINITY) continue;
      seen.add(state);
      if (state === this.#nfa.end || this.#nfa.transitions[state]!.length > 0) members.push(state);
      open.push(...this.#nfa.silent[state]!);
    }
    return Int32Array.from(members).sort();
  }

  #growTable(): void {
    const needed = this.#members.length * this.#classCount;
    if (needed <= this.#table.length) return;
    const longer = new Int32Array(2 * needed).fill(UNKNOWN);
    longer.set(this.#table);
    this.#table = longer;
  }

  #findClasses(): number {
    const cuts = new Set([0]);
    for (const transitions of this.#nfa.transitions) {
      for (const { first, last } of transitions) cuts.add(first).add(last + 1);
    }
    let count = -1;
    for (let byte = 0; byte < 256; byte++) {
      if (cuts.has(byte)) {
        count++;
        this.#examples.push(byte);
      }
      this.#classes[byte] = count;
    }
    return count + 1;
  }
}
