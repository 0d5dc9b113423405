// Where a text stands in a grammar: every way in which it may go on, each an automaton in one of its states and what has
// to follow that. Equal places are one object, so that what was found out about one is found again.
// In: bytes. Out: places. It knows no tokens.

import { type Automaton, completion } from "./automaton.ts";
import { Lengths, type Rule } from "./grammar.ts";
import type { Steps } from "./steps.ts";
import { TooComplexError } from "./too-complex.ts";

/** What has to follow: the rest of a sequence or of a repetition, then what follows that. */
export interface Frame {
  readonly id: number;
  readonly rule: Extract<Rule, { kind: "sequence" | "repeat" }>;
  /** The part that comes next, or the number of items so far. */
  readonly at: number;
  readonly next: Frame | undefined;
  /** Fewest bytes to the end of the text. */
  readonly distance: number;
}

/** One way of going on. */
export interface Thread {
  readonly id: number;
  readonly automaton: Automaton;
  readonly state: number;
  readonly next: Frame | undefined;
}

/** A place in a text. */
export interface GrammarState {
  readonly threads: readonly Thread[];
  /** The text may end here. */
  readonly whole: boolean;
  /** Fewest bytes to the end of the text. */
  readonly distance: number;
  /** (256) Where a byte leads; null: it must not come. */
  readonly moves: (GrammarState | null | undefined)[];
}

/** Ways at once: more are those of grammars made to have more. */
const MAX_THREADS = 2048;
const MAX_STATES = 8_000;
/** A million ways. */
const MAX_COST = 16_000_000;
const MAX_FRAMES = 200_000;

const BYTES = Array.from({ length: 256 }, (_, byte) => byte);

/** The places of one grammar. */
export class GrammarStates {
  readonly start: GrammarState;
  readonly #lengths: Lengths;
  readonly #frames = new Map<string, Frame>();
  readonly #threads = new Map<string, Thread>();
  readonly #states = new Map<string, GrammarState>();
  readonly #ids = new Map<object, number>();
  #cost = 0;

  private constructor(root: Rule, lengths: Lengths) {
    this.#lengths = lengths;
    this.start = this.#stateOf((found) => this.#expand(root, undefined, found));
  }

  /** @throws TooComplexError, also where even the shortest text has more than so many bytes */
  static *of(root: Rule, mostBytes = Number.POSITIVE_INFINITY): Steps<GrammarStates> {
    const lengths = yield* Lengths.of(root);
    const shortest = lengths.of(root);
    if (shortest === Number.POSITIVE_INFINITY) throw new TooComplexError("no text satisfies it");
    if (shortest > mostBytes)
      throw new TooComplexError(`even its shortest answer has ${shortest} bytes`);
    yield;
    return new GrammarStates(root, lengths);
  }

  /** Work that making places has taken so far, as a {@link WorkCount} counts it. */
  get cost(): number {
    return this.#cost;
  }

  /** Nothing may follow: this is the end. */
  over({ threads }: GrammarState): boolean {
    const goesOn = ({ automaton, state }: Thread) =>
      BYTES.some((byte) => automaton.next(state, byte) >= 0);
    return !threads.some(goesOn);
  }

  /** So much was remembered that it is time to begin anew, with the next answer. */
  get full(): boolean {
    return this.#states.size > MAX_STATES || this.#cost > MAX_COST;
  }

  /** @returns undefined where the byte must not come. @throws TooComplexError */
  next(state: GrammarState, byte: number): GrammarState | undefined {
    let next = state.moves[byte];
    if (next === undefined) {
      const moved = this.#stateOf((found) => {
        for (const { automaton, state: at, next: frame } of state.threads) {
          const to = automaton.next(at, byte);
          if (to >= 0) this.#arrive(automaton, to, frame, found);
        }
      });
      next = moved.threads.length > 0 || moved.whole ? moved : null;
      state.moves[byte] = next;
    }
    return next ?? undefined;
  }

  /** The place behind a frame's beginning: where a text stands whose inner part has just ended. */
  resumed(frame: Frame | undefined): GrammarState {
    return this.#stateOf((found) => this.#resume(frame, found));
  }

  /** The shortest bytes to the end of the text. */
  completion({ threads, whole }: GrammarState): number[] {
    const [first] = threads;
    if (whole || !first) return [];
    const best = threads.reduce((a, b) => (distanceOf(b) < distanceOf(a) ? b : a), first);
    const bytes = completion(best.automaton, best.state);
    for (let frame = best.next; frame; frame = frame.next) {
      const { rule, at } = frame;
      if (rule.kind === "sequence") {
        for (const part of rule.parts.slice(at)) this.#lengths.write(part, bytes);
      } else {
        for (let i = at; i < rule.min; i++) this.#lengths.write(rule.item, bytes);
      }
    }
    return bytes;
  }

  #stateOf(find: (found: Found) => void): GrammarState {
    const found: Found = { threads: new Map(), whole: false, expanding: new Set() };
    find(found);
    const threads = [...found.threads.values()].sort((a, b) => a.id - b.id);
    const key = `${found.whole}${threads.map(({ id }) => id).join()}`;
    let state = this.#states.get(key);
    if (!state) {
      const distance = found.whole ? 0 : Math.min(...threads.map(distanceOf));
      state = { threads, whole: found.whole, distance, moves: [] };
      this.#states.set(key, state);
    }
    return state;
  }

  /** An automaton has come to a state, in which its part may be whole. */
  #arrive(automaton: Automaton, state: number, next: Frame | undefined, found: Found): void {
    const key = `${this.#idOf(automaton)},${state},${next?.id ?? ""}`;
    let thread = this.#threads.get(key);
    if (!thread) {
      thread = { id: this.#threads.size, automaton, state, next };
      this.#threads.set(key, thread);
    }
    this.#cost += 16;
    if (found.threads.has(thread.id)) return;
    if (found.threads.size >= MAX_THREADS)
      throw new TooComplexError("it can go on in too many ways");
    found.threads.set(thread.id, thread);
    if (automaton.accepting(state)) this.#resume(next, found);
  }

  #resume(frame: Frame | undefined, found: Found): void {
    if (!frame) {
      found.whole = true;
      return;
    }
    const { rule, at, next } = frame;
    if (rule.kind === "repeat") {
      this.#repeat(rule, at, next, found);
      return;
    }
    const last = at === rule.parts.length - 1;
    this.#expand(rule.parts[at]!, last ? next : this.#frame(rule, at + 1, next), found);
  }

  #expand(rule: Rule, next: Frame | undefined, found: Found): void {
    switch (rule.kind) {
      case "match":
        this.#arrive(rule.automaton, rule.automaton.start, next, found);
        return;
      case "sequence":
        this.#expand(rule.parts[0]!, this.#frame(rule, 1, next), found);
        return;
      case "either":
        for (const option of rule.options) this.#expand(option, next, found);
        return;
      case "repeat":
        this.#repeat(rule, 0, next, found);
        return;
      case "reference": {
        // What begins with itself adds nothing the second time.
        const key = `${this.#idOf(rule)},${next?.id ?? ""}`;
        if (found.expanding.has(key)) return;
        found.expanding.add(key);
        this.#expand(rule.to!, next, found);
      }
    }
  }

  #repeat(
    rule: Extract<Rule, { kind: "repeat" }>,
    count: number,
    next: Frame | undefined,
    found: Found,
  ): void {
    if (count >= rule.min) this.#resume(next, found);
    if (count >= rule.max) return;
    // Without a bound, all that is enough is alike.
    const after = rule.max === Number.POSITIVE_INFINITY ? Math.min(count + 1, rule.min) : count + 1;
    this.#expand(rule.item, this.#frame(rule, after, next), found);
  }

  #frame(rule: Frame["rule"], at: number, next: Frame | undefined): Frame {
    const key = `${this.#idOf(rule)},${at},${next?.id ?? ""}`;
    let frame = this.#frames.get(key);
    if (!frame) {
      const own =
        rule.kind === "sequence"
          ? rule.parts.slice(at).reduce((sum, part) => sum + this.#lengths.of(part), 0)
          : at >= rule.min
            ? 0
            : (rule.min - at) * this.#lengths.of(rule.item);
      if (this.#frames.size >= MAX_FRAMES) throw new TooComplexError("it is nested too deeply");
      frame = { id: this.#frames.size, rule, at, next, distance: own + (next?.distance ?? 0) };
      this.#frames.set(key, frame);
    }
    return frame;
  }

  #idOf(thing: object): number {
    let id = this.#ids.get(thing);
    if (id === undefined) {
      id = this.#ids.size;
      this.#ids.set(thing, id);
    }
    return id;
  }
}

interface Found {
  readonly threads: Map<number, Thread>;
  whole: boolean;
  /** References that are being expanded. */
  readonly expanding: Set<string>;
}

function distanceOf({ automaton, state, next }: Thread): number {
  return automaton.distance(state) + (next?.distance ?? 0);
}
