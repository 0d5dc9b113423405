// Guesses at what an answer goes on with, copied from what the prompt and the answer said before: lists, names, code and
// quotes repeat themselves. A run that checks several guesses costs little more than one token where rows are cheap.
// In: tokens so far, and what runs took and how many guesses were right. Out: guesses, while they pay.
// What a guess turns out to be is decided by the sampler as if there had been none: the distribution is the same.

import type { TokenContent } from "./token-content.ts";

/** Most tokens guessed at once. */
const MOST = 7;
/** Ids are below this; three of them are one exact number. */
const ID_LIMIT = 200_000;
/** What a run of one more row costs on plain AVX2, as a multiple of a step. */
const USUAL_COST_OF_ROW = 0.3;
/** How likely a guess is to be right before any was checked. */
const PRIOR = 0.6;
/** Weight of the newest measurement. */
const NEWEST = 0.2;
/** It has to pay clearly: what it costs is known, what it gains is a guess. */
const LEAST_GAIN = 1.1;
/** How fast guessing is forgiven for having been wrong, with every token that a guess was at hand for. */
const FORGIVING = 0.003;

/** Finds what followed the last time these tokens came. */
export class Lookup {
  /** Where the tokens behind a group of three, or two, begin. */
  readonly #triples = new Map<number, number>();
  readonly #pairs = new Map<number, number>();
  #indexed = 1;

  /** @param last the token behind the content */
  next(content: TokenContent, last: number, most: number): number[] {
    this.#index(content);
    const end = content.length;
    if (end < 2) return [];
    const [before, middle] = [content.at(end - 2), content.at(end - 1)];
    const at =
      this.#triples.get(triple(before, middle, last)) ?? this.#pairs.get(pair(middle, last));
    return at === undefined ? [] : [...content.ids(at, Math.min(at + most, end))];
  }

  #index(content: TokenContent): void {
    for (; this.#indexed < content.length; this.#indexed++) {
      const i = this.#indexed;
      const [middle, last] = [content.at(i - 1), content.at(i)];
      this.#pairs.set(pair(middle, last), i + 1);
      if (i >= 2) this.#triples.set(triple(content.at(i - 2), middle, last), i + 1);
    }
  }
}

/** Whether guessing pays, from what was measured. */
export class Speculation {
  readonly #costOfRow: number;
  /** Milliseconds of a run, by its rows. */
  readonly #runMs = new Map<number, number>();
  readonly #sequences = new WeakMap<TokenContent, { lookup: Lookup; accuracy: number }>();
  /** Share of right guesses over all sequences: what a new one begins with. */
  #accuracy = PRIOR;

  /** @param costOfRow what a run of one more row is expected to cost, as a multiple of a step, until it was measured */
  constructor(costOfRow: number = USUAL_COST_OF_ROW) {
    this.#costOfRow = costOfRow;
  }

  /**
   * Guesses for a sequence that writes alone; none when they would not pay.
   *
   * @param last the token chosen and not yet computed
   * @param room tokens that fit behind it
   */
  draft(content: TokenContent, last: number, room: number): readonly number[] {
    const sequence = this.#sequence(content);
    const guesses = sequence.lookup.next(content, last, Math.min(MOST, room));
    if (guesses.length === 0) return guesses;
    const count = this.#bestCount(sequence.accuracy, guesses.length);
    if (count === 0) sequence.accuracy += FORGIVING * (PRIOR - sequence.accuracy);
    return guesses.slice(0, count);
  }

  /** A run of so many rows, of one sequence, was done. */
  ran(rows: number, ms: number): void {
    const before = this.#runMs.get(rows) ?? ms;
    this.#runMs.set(rows, before + NEWEST * (ms - before));
  }

  /** So many of the guesses were right. The first wrong one says nothing about those behind it. */
  checked(content: TokenContent, guesses: number, right: number): void {
    const sequence = this.#sequence(content);
    for (let i = 0; i < Math.min(right + 1, guesses); i++) {
      const hit = i < right ? 1 : 0;
      sequence.accuracy += NEWEST * (hit - sequence.accuracy);
      this.#accuracy += 0.1 * NEWEST * (hit - this.#accuracy);
    }
  }

  /** Of how many guesses the run gives most tokens for its time; 0 when a plain step does. */
  #bestCount(accuracy: number, most: number): number {
    let [best, bestGain] = [0, LEAST_GAIN];
    let [expected, chance] = [1, 1];
    for (let count = 1; count <= most; count++) {
      chance *= accuracy;
      expected += chance;
      const gain = expected / this.#costOf(count + 1);
      if (gain > bestGain) [best, bestGain] = [count, gain];
    }
    return best;
  }

  /** Of a run of so many rows, as a multiple of a plain step. */
  #costOf(rows: number): number {
    const step = this.#runMs.get(1);
    if (step === undefined) return 1 + this.#costOfRow * (rows - 1);
    const sizes = [...this.#runMs.keys()].filter((size) => size > 1).sort((a, b) => a - b);
    const [below, above] = [
      sizes.findLast((size) => size <= rows),
      sizes.find((size) => size >= rows),
    ];
    const measured = (size: number) => this.#runMs.get(size)! / step;
    if (below !== undefined && above !== undefined) {
      const share = above === below ? 0 : (rows - below) / (above - below);
      return measured(below) + share * (measured(above) - measured(below));
    }
    // Beyond what was measured: in proportion to what the nearest cost above a step.
    const nearest = below ?? above;
    const ofRow = nearest === undefined ? this.#costOfRow : (measured(nearest) - 1) / (nearest - 1);
    return 1 + Math.max(0, ofRow) * (rows - 1);
  }

  #sequence(content: TokenContent): { lookup: Lookup; accuracy: number } {
    const known = this.#sequences.get(content) ?? {
      lookup: new Lookup(),
      accuracy: this.#accuracy,
    };
    this.#sequences.set(content, known);
    return known;
  }
}

function pair(a: number, b: number): number {
  return a * ID_LIMIT + b;
}

function triple(a: number, b: number, c: number): number {
  return (a * ID_LIMIT + b) * ID_LIMIT + c;
}
