// A grammar: automata in sequences, choices and repetitions, which may contain themselves. Types and the few facts that
// follow from the form alone. It knows no tokens and no state of any answer.

import { type Automaton, completion } from "./automaton.ts";
import { type Steps, WorkCount } from "./steps.ts";

export type Rule =
  | { readonly kind: "match"; readonly automaton: Automaton }
  | { readonly kind: "sequence"; readonly parts: readonly Rule[] }
  | { readonly kind: "either"; readonly options: readonly Rule[] }
  | { readonly kind: "repeat"; readonly item: Rule; readonly min: number; readonly max: number }
  | Reference;

/** A rule by another place: how a rule contains itself. */
export interface Reference {
  readonly kind: "reference";
  to: Rule | undefined;
}

export function match(automaton: Automaton): Rule {
  return { kind: "match", automaton };
}

export function inOrder(...parts: readonly Rule[]): Rule {
  return parts.length === 1 ? parts[0]! : { kind: "sequence", parts };
}

export function anyOf(...options: readonly Rule[]): Rule {
  return options.length === 1 ? options[0]! : { kind: "either", options };
}

/** `max` may be Infinity. An item is never empty. */
export function times(item: Rule, min: number, max: number): Rule {
  return { kind: "repeat", item, min, max };
}

export function reference(): Reference {
  return { kind: "reference", to: undefined };
}

/** All that a grammar is made of in the end. */
export function* automataOf(root: Rule): Steps<ReadonlySet<Automaton>> {
  const matches = [...(yield* rulesOf(root))];
  return new Set(matches.flatMap((rule) => (rule.kind === "match" ? [rule.automaton] : [])));
}

/** Fewest bytes of each rule of a grammar; Infinity for those that never end. */
export class Lengths {
  readonly #lengths = new Map<Rule, number>();

  private constructor() {}

  static *of(root: Rule): Steps<Lengths> {
    const lengths = new Lengths();
    yield* lengths.#find([...(yield* rulesOf(root))]);
    return lengths;
  }

  *#find(rules: readonly Rule[]): Steps<void> {
    const work = new WorkCount();
    for (const rule of rules) this.#lengths.set(rule, Number.POSITIVE_INFINITY);
    for (let changed = true; changed; ) {
      changed = false;
      // Inner ones stand behind those that contain them.
      for (const rule of rules.toReversed()) {
        if (work.adds(4 + partsOf(rule).length)) yield;
        const length = this.#compute(rule);
        if (length >= this.of(rule)) continue;
        this.#lengths.set(rule, length);
        changed = true;
      }
    }
  }

  of(rule: Rule): number {
    return this.#lengths.get(rule)!;
  }

  /** The shortest text of a rule, appended. */
  write(rule: Rule, bytes: number[]): void {
    switch (rule.kind) {
      case "match":
        bytes.push(...completion(rule.automaton, rule.automaton.start));
        break;
      case "sequence":
        for (const part of rule.parts) this.write(part, bytes);
        break;
      case "either":
        this.write(this.#shortest(rule.options), bytes);
        break;
      case "repeat":
        for (let i = 0; i < rule.min; i++) this.write(rule.item, bytes);
        break;
      case "reference":
        this.write(rule.to!, bytes);
    }
  }

  #shortest(options: readonly Rule[]): Rule {
    return options.reduce((best, option) => (this.of(option) < this.of(best) ? option : best));
  }

  #compute(rule: Rule): number {
    switch (rule.kind) {
      case "match":
        return rule.automaton.start < 0
          ? Number.POSITIVE_INFINITY
          : rule.automaton.distance(rule.automaton.start);
      case "sequence":
        return rule.parts.reduce((sum, part) => sum + this.of(part), 0);
      case "either":
        return Math.min(...rule.options.map((option) => this.of(option)));
      case "repeat":
        return rule.min === 0 ? 0 : rule.min * this.of(rule.item);
      case "reference":
        return this.of(rule.to!);
    }
  }
}

/** Every rule once, containers first. */
function* rulesOf(root: Rule): Steps<Set<Rule>> {
  const work = new WorkCount();
  const found = new Set<Rule>([root]);
  for (const rule of found) {
    const parts = partsOf(rule);
    for (const inner of parts) found.add(inner);
    if (work.adds(4 + 2 * parts.length)) yield;
  }
  return found;
}

function partsOf(rule: Rule): readonly Rule[] {
  switch (rule.kind) {
    case "match":
      return [];
    case "sequence":
      return rule.parts;
    case "either":
      return rule.options;
    case "repeat":
      return [rule.item];
    case "reference":
      return [rule.to!];
  }
}
