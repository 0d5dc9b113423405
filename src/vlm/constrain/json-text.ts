// Any string of JSON with a number of characters, as an automaton of its own: counting them takes no states, so that a
// bound of a million characters costs nothing, and every string shares what was found out about tokens.
// In: bytes. Out: states. It knows no patterns.

import type { Automaton } from "./automaton.ts";

/** Where in the string: what was read ends a character only in `BODY`. */
const OPENING = 0;
const BODY = 1;
const END = 2;
const ESCAPE = 3;
const HEX_1 = 4; // `\u`, then four digits: no surrogates, so that each is a character
const HEX_2_PLAIN = 5;
const HEX_2_D = 6;
const HEX_3 = 7;
const HEX_4 = 8;
const MORE_1 = 9; // bytes of a character that are missing
const MORE_2 = 10;
const MORE_3 = 11;
const AFTER_E0 = 12;
const AFTER_ED = 13;
const AFTER_F0 = 14;
const AFTER_F4 = 15;
const PLACES = 16;

/** Bytes to the end of the character. */
const MISSING = [0, 0, 0, 1, 4, 3, 3, 2, 1, 1, 2, 3, 2, 2, 3, 3] as const;

/** The table of one character: (places, 256), the next place; -1 where the byte must not come. */
const TABLE = buildTable();

/** Where in a string a state is, and what its bounds leave. */
export interface JsonTextPlace {
  readonly place: number;
  /** Characters that may still begin; Infinity without a bound. */
  readonly room: number;
  /** Characters that must come before the end. */
  readonly wanted: number;
}

/** A state is its place and the characters read so far, which are counted up to the highest number that matters. */
export class JsonText implements Automaton {
  static readonly places = Array.from({ length: PLACES }, (_, place) => place);
  /** Without bounds, but counting; its first states are the places. */
  static readonly counting = new JsonText(0, 2 ** 20);

  readonly start = OPENING;
  readonly #min: number;
  readonly #max: number;
  readonly #countUpTo: number;

  /** @param max may be Infinity */
  constructor(min = 0, max = Number.POSITIVE_INFINITY) {
    this.#min = min;
    this.#max = max;
    this.#countUpTo = max === Number.POSITIVE_INFINITY ? min : max;
  }

  next(state: number, byte: number): number {
    const place = state % PLACES;
    const count = (state - place) / PLACES;
    const next = TABLE[place * 256 + byte]!;
    if (next === -1) return -1;
    if (next === END) return count >= this.#min ? state - place + END : -1;
    if (place === OPENING) return next;
    // A character begins, or goes on.
    if (place === BODY && count >= this.#max) return -1;
    if (next !== BODY || count >= this.#countUpTo) return state - place + next;
    return (count + 1) * PLACES + next;
  }

  accepting(state: number): boolean {
    return state % PLACES === END;
  }

  distance(state: number): number {
    const place = state % PLACES;
    if (place === END) return 0;
    const count = (state - place) / PLACES;
    const inside = place !== BODY && place !== OPENING ? 1 : 0;
    const quotes = place === OPENING ? 2 : 1;
    return MISSING[place]! + Math.max(0, this.#min - count - inside) + quotes;
  }

  placeOf(state: number): JsonTextPlace {
    const place = state % PLACES;
    const count = (state - place) / PLACES;
    return { place, room: this.#max - count, wanted: Math.max(0, this.#min - count) };
  }

  /** Characters that have begun. */
  static characters(state: number): number {
    const place = state % PLACES;
    const inside = place === OPENING || place === BODY || place === END ? 0 : 1;
    return (state - place) / PLACES + inside;
  }
}

function buildTable(): Int8Array {
  const table = new Int8Array(PLACES * 256).fill(-1);
  const set = (from: number, first: number, last: number, to: number) =>
    table.fill(to, from * 256 + first, from * 256 + last + 1);
  const setEach = (from: number, characters: string, to: number) => {
    for (const character of characters) {
      set(from, character.charCodeAt(0), character.charCodeAt(0), to);
    }
  };
  setEach(OPENING, '"', BODY);
  set(BODY, 0x20, 0x7e, BODY);
  setEach(BODY, '"', END);
  setEach(BODY, "\\", ESCAPE);
  set(BODY, 0xc2, 0xdf, MORE_1);
  set(BODY, 0xe1, 0xef, MORE_2);
  set(BODY, 0xe0, 0xe0, AFTER_E0);
  set(BODY, 0xed, 0xed, AFTER_ED);
  set(BODY, 0xf1, 0xf3, MORE_3);
  set(BODY, 0xf0, 0xf0, AFTER_F0);
  set(BODY, 0xf4, 0xf4, AFTER_F4);
  setEach(ESCAPE, '"\\/bfnrt', BODY);
  setEach(ESCAPE, "u", HEX_1);
  const hex = (from: number, to: number) => setEach(from, "0123456789abcdefABCDEF", to);
  hex(HEX_1, HEX_2_PLAIN);
  setEach(HEX_1, "dD", HEX_2_D);
  hex(HEX_2_PLAIN, HEX_3);
  setEach(HEX_2_D, "01234567", HEX_3);
  hex(HEX_3, HEX_4);
  hex(HEX_4, BODY);
  set(MORE_1, 0x80, 0xbf, BODY);
  set(MORE_2, 0x80, 0xbf, MORE_1);
  set(MORE_3, 0x80, 0xbf, MORE_2);
  set(AFTER_E0, 0xa0, 0xbf, MORE_1);
  set(AFTER_ED, 0x80, 0x9f, MORE_1);
  set(AFTER_F0, 0x90, 0xbf, MORE_2);
  set(AFTER_F4, 0x80, 0x8f, MORE_2);
  return table;
}
