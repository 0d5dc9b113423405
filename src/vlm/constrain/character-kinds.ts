// Characters that an automaton does not tell apart, as one kind: those that are in the same of its sets. Letters of texts are
// kinds of their own only behind the beginning of a text. In: sets and texts. Out: the kind of a character, and an example of
// each kind. It knows no states and no tokens.

import type { CodePoints } from "./code-points.ts";
import { type Steps, WorkCount } from "./steps.ts";

const BASIC = 0x1_0000;
const NONE = 0xffff;
/** More different sets than this are those of expressions made to have many. */
const MOST_SETS = 64;
/** Kinds from here on are those of letters behind the beginning of a text. */
const FINE = 1 << 14;

/** A partition of all characters. */
class Partition {
  /** First code points of stretches of one kind, and their kinds. */
  readonly #starts: number[] = [];
  readonly #kinds: number[] = [];
  /** (65536) of the characters below. */
  readonly #basic = new Uint16Array(BASIC).fill(NONE);
  /** UTF-8 of one of each kind. */
  readonly #examples: Uint8Array[] = [];

  private constructor() {}

  static *of(sets: readonly CodePoints[]): Steps<Partition> {
    const partition = new Partition();
    yield* partition.#cut(sets);
    return partition;
  }

  /** Equal ones have one name. */
  get name(): string {
    return this.#starts.map((start, index) => `${start}:${this.#kinds[index]}`).join();
  }

  *#cut(sets: readonly CodePoints[]): Steps<void> {
    const work = new WorkCount();
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
      if (work.adds(8 + 4 * sets.length)) yield;
    }
  }

  /** Undefined for a character of none of the sets. */
  of(codePoint: number): number | undefined {
    const kind = codePoint < BASIC ? this.#basic[codePoint]! : this.#rareKind(codePoint);
    return kind === NONE ? undefined : kind;
  }

  /** Of all characters from one up to another. */
  within(first: number, last: number): ReadonlySet<number> {
    const kinds = new Set<number>();
    for (let at = Math.max(0, this.#stretch(first)); at < this.#starts.length; at++) {
      if (this.#starts[at]! > last) break;
      if (this.#kinds[at] !== NONE) kinds.add(this.#kinds[at]!);
    }
    return kinds;
  }

  example(kind: number): Uint8Array {
    return this.#examples[kind]!;
  }

  get examples(): readonly Uint8Array[] {
    return this.#examples;
  }

  #kindOf(members: string, start: number, byMembership: Map<string, number>): number {
    let kind = byMembership.get(members);
    if (kind === undefined) {
      kind = this.#examples.push(Buffer.from(String.fromCodePoint(start), "utf8")) - 1;
      byMembership.set(members, kind);
    }
    return kind;
  }

  #rareKind(codePoint: number): number {
    return this.#kinds[this.#stretch(codePoint)] ?? NONE;
  }

  /** The last stretch that begins at or in front of it; -1: none. */
  #stretch(codePoint: number): number {
    let [low, high] = [0, this.#starts.length];
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (this.#starts[middle]! <= codePoint) low = middle + 1;
      else high = middle;
    }
    return low - 1;
  }
}

export class CharacterKinds {
  /** Equal ones have one name. */
  readonly name: string;
  /** So many characters behind the beginning of a text may be letters of it. */
  readonly reach: number;
  readonly #coarse: Partition;
  readonly #fine: Partition;
  readonly #beginnings: ReadonlySet<number>;

  private constructor(coarse: Partition, fine: Partition, { beginnings, reach }: Letters) {
    this.#coarse = coarse;
    this.#fine = fine;
    this.#beginnings = beginnings;
    this.reach = reach;
    this.name = [coarse.name, fine.name, [...beginnings], reach].join(" ");
  }

  /** @returns undefined where there are too many sets to be worth it */
  static *of(
    sets: readonly CodePoints[],
    texts: Iterable<string>,
  ): Steps<CharacterKinds | undefined> {
    const letters = yield* lettersOf(texts, MOST_SETS - sets.length);
    if (!letters) return undefined;
    const single = (point: number): CodePoints => [[point, point]];
    const beginning = [...sets, ...[...letters.first].map(single)];
    const coarse = yield* Partition.of(beginning);
    const fine = yield* Partition.of([...beginning, ...[...letters.inner].map(single)]);
    return new CharacterKinds(coarse, fine, letters);
  }

  /** May a text go on behind this character? */
  begins(codePoint: number): boolean {
    return this.#beginnings.has(codePoint);
  }

  /** @param fine it may be a letter inside a text @returns undefined for a character that is nowhere */
  of(codePoint: number, fine = false): number | undefined {
    if (!fine) return this.#coarse.of(codePoint);
    const kind = this.#fine.of(codePoint);
    return kind === undefined ? undefined : FINE + kind;
  }

  /** All kinds of the characters from one up to another. */
  within(first: number, last: number, fine = false): readonly number[] {
    if (!fine) return [...this.#coarse.within(first, last)];
    return Array.from(this.#fine.within(first, last), (kind) => FINE + kind);
  }

  example(kind: number): Uint8Array {
    return kind >= FINE ? this.#fine.example(kind - FINE) : this.#coarse.example(kind);
  }

  /** Each kind as several where letters of texts are apart: examples of all that may be one. */
  *groups(): Generator<readonly Uint8Array[]> {
    const groups = new Map<number | undefined, Uint8Array[]>();
    for (const example of this.#fine.examples) {
      const kind = this.#coarse.of(Buffer.from(example).toString("utf8").codePointAt(0)!);
      const group = groups.get(kind) ?? [];
      group.push(example);
      groups.set(kind, group);
    }
    yield* groups.values();
  }
}

interface Letters {
  readonly first: ReadonlySet<number>;
  /** Those behind the first. */
  readonly inner: ReadonlySet<number>;
  /** First ones behind which others follow. */
  readonly beginnings: ReadonlySet<number>;
  readonly reach: number;
}

/** The letters of some texts; undefined where there are too many. */
function* lettersOf(texts: Iterable<string>, most: number): Steps<Letters | undefined> {
  const work = new WorkCount();
  const [first, inner, beginnings] = [new Set<number>(), new Set<number>(), new Set<number>()];
  const all = new Set<number>();
  let reach = 0;
  for (const text of texts) {
    const points = Array.from(text, (character) => character.codePointAt(0)!);
    for (const [at, point] of points.entries()) {
      all.add(point);
      (at === 0 ? first : inner).add(point);
    }
    if (points.length > 1) beginnings.add(points[0]!);
    reach = Math.max(reach, points.length - 1);
    if (work.adds(4 + 4 * points.length)) yield;
    if (all.size > most) return undefined;
  }
  return all.size > most ? undefined : { first, inner, beginnings, reach };
}
