// The same words for ever: notices that the end of a sequence repeats itself, whatever the period.
// In: symbols one at a time, be they token ids or characters. Out: the loop, once there is no doubt. It shows nothing.

/** A stretch at the end of a sequence that is one unit again and again. */
export interface Loop {
  /** Symbols of one copy. */
  readonly period: number;
  /** Symbols of the whole stretch: several copies, the last one perhaps unfinished. */
  readonly length: number;
}

/** What counts as a loop. */
export interface LoopLimits {
  /** Longest unit that is looked for. */
  readonly maxPeriod: number;
  /** A stretch of long units is a loop from this length on. */
  readonly minLength: number;
  /** Short units have to fill more than that: laughter, rules and filled cells repeat on purpose. Shared by the period. */
  readonly shortUnitExtra: number;
}

/** For token ids: 64 tokens and four copies, twice as many for units of four tokens, 320 for a single one. */
export const TOKEN_LOOPS: LoopLimits = { maxPeriod: 1024, minLength: 64, shortUnitExtra: 256 };

/** For characters, of which a token has two or three. */
const CHARACTER_LOOPS: LoopLimits = { maxPeriod: 2048, minLength: 128, shortUnitExtra: 512 };

/** Nobody writes so long a unit three times by chance; of shorter ones, four copies are asked for. */
const LONG_UNIT = 128;

/**
 * Watches a sequence for a loop at its end.
 *
 * Only exact copies count: lists whose lines differ in a number, and tables, are none.
 */
export class Repetition {
  readonly #limits: LoopLimits;
  /** Where each symbol stands, in order. */
  readonly #places = new Map<number, number[]>();
  /** For each period, how many symbols up to `#lastEqual` equal the one a period before. */
  readonly #runs: Int32Array;
  /** For each period, the last place that equals the one a period before. */
  readonly #lastEqual: Int32Array;
  #length = 0;

  constructor(limits: LoopLimits) {
    this.#limits = limits;
    this.#runs = new Int32Array(limits.maxPeriod + 1);
    this.#lastEqual = new Int32Array(limits.maxPeriod + 1).fill(-2);
  }

  /** Takes the next symbol; returns the loop that it makes certain. */
  push(symbol: number): Loop | undefined {
    const at = this.#length++;
    const places = this.#placesOf(symbol);
    // A unit that is itself a shorter one several times begins no earlier than that one: the shortest tells the truth.
    let earliest = Number.POSITIVE_INFINITY;
    let loop: Loop | undefined;
    for (let i = places.length - 1; i >= 0; i--) {
      const period = at - places[i]!;
      if (period > this.#limits.maxPeriod) {
        // No later symbol looks back so far.
        places.splice(0, i + 1);
        break;
      }
      const run = this.#lastEqual[period] === at - 1 ? this.#runs[period]! + 1 : 1;
      this.#runs[period] = run;
      this.#lastEqual[period] = at;
      const length = run + period;
      const start = at + 1 - length;
      if (!loop && start < earliest && length >= this.#needed(period)) loop = { period, length };
      earliest = Math.min(earliest, start);
    }
    places.push(at);
    return loop;
  }

  #placesOf(symbol: number): number[] {
    const places = this.#places.get(symbol) ?? [];
    this.#places.set(symbol, places);
    return places;
  }

  #needed(period: number): number {
    const { minLength, shortUnitExtra } = this.#limits;
    const copies = period < LONG_UNIT ? 4 : 3;
    return Math.max(copies * period, minLength + Math.ceil(shortUnitExtra / period));
  }
}

/**
 * The loop of a text, watched piece by piece.
 *
 * @example
 * const watch = new TextRepetition();
 * const excess = watch.push(piece); // characters at the end of the text so far that are more than one copy
 */
export class TextRepetition {
  readonly #repetition = new Repetition(CHARACTER_LOOPS);
  #text = "";

  /**
   * Takes the next piece.
   *
   * @returns how many UTF-16 units at the end of the text so far, this piece included, repeat what stands before them;
   * 0 as long as there is no loop.
   */
  push(text: string): number {
    const start = this.#text.length;
    this.#text += text;
    for (let i = 0; i < text.length; i++) {
      const loop = this.#repetition.push(text.charCodeAt(i));
      if (!loop) continue;
      const firstCopyEnd = start + i + 1 - loop.length + loop.period;
      return this.#text.length - withClosing(this.#text, firstCopyEnd, loop.period);
    }
    return 0;
  }
}

/**
 * Where to cut behind the first copy of a loop. What stands in front of a loop often ends with the same full stop as its
 * copies, and the loop is taken to begin there: then the first copy gets its own full stop as well.
 */
export function withClosing(text: string, firstCopyEnd: number, period: number): number {
  if (CLOSING.test(text.slice(0, firstCopyEnd).slice(-1))) return firstCopyEnd;
  const closing = CLOSING.exec(text.slice(firstCopyEnd, firstCopyEnd + period - 1));
  return firstCopyEnd + (closing?.[0].length ?? 0);
}

const CLOSING = /^[。！？!?.…，,；;：:、”’"」』）)】\]]+/u;
