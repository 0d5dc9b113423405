// Characters that an automaton does not tell apart, as one kind: those that are in the same of its sets. In: sets and single
// characters. Out: the kind of a character, and an example of each kind. It knows no states and no tokens.

import type { CodePoints } from "./code-points.ts";

const BASIC = 0x1_0000;
const NONE = 0xffff;
/** More different sets than this are those of expressions made to have many. */
const MOST_SETS = 64;

export class CharacterKinds {
  /** Equal ones have one name. */
  readonly name: string;
  /** First code points of stretches of one kind, and their kinds. */
  readonly #starts: number[] = [];
  readonly #kinds: number[] = [];
  /** (65536) of the characters below. */
  readonly #basic = new Uint16Array(BASIC).fill(NONE);
  /** UTF-8 of one of each kind. */
  readonly #examples: Uint8Array[] = [];

  private constructor(sets: readonly CodePoints[]) {
    const cuts = new Set<number>();
    for (const [first, last] of sets.flat()) cuts.add(first).add(last + 1);
    const sorted = [...cuts].sort((a, b) => a - b);
    const places = sets.map(() => 0);
    const byMembership = new Map<string, number>();
    for (const [index, start] of sorted.entries()) {
      const members = sets.flatMap((set, at) => {
        while (places[at]! < set.length && set[places[at]!]![1] < start) places[at]!++;
        const range = set[places[at]!];
        return range && range[0] <= start ? [at] : [];
      });
      const kind = members.length === 0 ? NONE : this.#kindOf(members.join(), start, byMembership);
      this.#starts.push(start);
      this.#kinds.push(kind);
      this.#basic.fill(kind, Math.min(start, BASIC), Math.min(sorted[index + 1] ?? BASIC, BASIC));
    }
    this.name = this.#starts.map((start, index) => `${start}:${this.#kinds[index]}`).join();
  }

  /** @returns undefined where there are too many sets to be worth it */
  static of(sets: readonly CodePoints[]): CharacterKinds | undefined {
    return sets.length > MOST_SETS ? undefined : new CharacterKinds(sets);
  }

  /** Undefined for a character of none of the sets. */
  of(codePoint: number): number | undefined {
    const kind = codePoint < BASIC ? this.#basic[codePoint]! : this.#rareKind(codePoint);
    return kind === NONE ? undefined : kind;
  }

  example(kind: number): Uint8Array {
    return this.#examples[kind]!;
  }

  #kindOf(members: string, start: number, byMembership: Map<string, number>): number {
    let kind = byMembership.get(members);
    if (kind === undefined) {
      kind = this.#examples.push(Buffer.from(String.fromCodePoint(start), "utf8")) - 1;
      byMembership.set(members, kind);
    }
    return kind;
  }

  /** The last stretch that begins at or in front of it. */
  #rareKind(codePoint: number): number {
    let [low, high] = [0, this.#starts.length];
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (this.#starts[middle]! <= codePoint) low = middle + 1;
      else high = middle;
    }
    return low === 0 ? NONE : this.#kinds[low - 1]!;
  }
}
