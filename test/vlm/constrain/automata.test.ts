// The parts of a grammar against what they stand for: expressions against this engine's own, bounds against numbers,
// strings of JSON against JSON.parse, sets of code points against single ones.

import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { Automaton } from "../../../src/vlm/constrain/automaton.ts";
import { completion } from "../../../src/vlm/constrain/automaton.ts";
import { ByteNfa, oneOf, type Piece } from "../../../src/vlm/constrain/byte-nfa.ts";
import { complement, union, utf8Sequences } from "../../../src/vlm/constrain/code-points.ts";
import { formedNumber, spellInJson } from "../../../src/vlm/constrain/json-terminals.ts";
import { JsonText } from "../../../src/vlm/constrain/json-text.ts";
import { LazyDfa } from "../../../src/vlm/constrain/lazy-dfa.ts";
import { minimal } from "../../../src/vlm/constrain/minimal.ts";
import { regexPiece } from "../../../src/vlm/constrain/regex.ts";
import { finish } from "../../../src/vlm/constrain/steps.ts";
import { effort } from "../../support/fuzz.ts";

function accepts(automaton: Automaton, text: string): boolean {
  let state = automaton.start;
  for (const byte of Buffer.from(text)) {
    if (state < 0) return false;
    state = automaton.next(state, byte);
  }
  return state >= 0 && automaton.accepting(state);
}

function dfaOf(piece: Piece): LazyDfa {
  return finish(LazyDfa.of(piece));
}

/** Expressions at random, of everything that can be kept. */
const { expression } = fc.letrec<{ expression: string }>((tie) => ({
  expression: fc.oneof(
    { maxDepth: 3 },
    fc.constantFrom(
      "a",
      "b",
      "猫",
      ".",
      "\\d",
      "\\w",
      "\\s",
      "[^a]",
      "[a-c猫]",
      "\\p{Lu}",
      "\\.",
      "é",
    ),
    fc.tuple(tie("expression"), tie("expression")).map(([a, b]) => a + b),
    fc.tuple(tie("expression"), tie("expression")).map(([a, b]) => `(?:${a}|${b})`),
    fc
      .tuple(tie("expression"), fc.constantFrom("*", "+", "?", "{2}", "{0,2}", "{1,}", "*?"))
      .map(([a, times]) => `(${a})${times}`),
  ),
}));
const letters = fc.array(
  fc.constantFrom("a", "b", "c", "猫", "狗", "A", "1", ".", " ", "\n", "é", "😀"),
  {
    maxLength: 6,
  },
);

describe("an automaton", () => {
  it("reads what an expression matches, whole and somewhere", () => {
    fc.assert(
      fc.property(expression, letters, (pattern, parts) => {
        const text = parts.join("");
        const whole = dfaOf(finish(regexPiece(pattern, { spell: oneOf, match: "whole" })));
        const anywhere = dfaOf(finish(regexPiece(pattern, { spell: oneOf, match: "somewhere" })));
        expect(accepts(whole, text)).toBe(new RegExp(`^(?:${pattern})$`, "u").test(text));
        expect(accepts(anywhere, text)).toBe(new RegExp(pattern, "u").test(text));
      }),
      effort(600),
    );
  });

  it("reads the same with the fewest states, and characters as JSON spells them", () => {
    fc.assert(
      fc.property(expression, letters, (pattern, parts) => {
        const text = parts.join("");
        const piece = finish(regexPiece(pattern, { spell: spellInJson, match: "whole" }));
        const spelled = JSON.stringify(text).slice(1, -1);
        const expected = new RegExp(`^(?:${pattern})$`, "u").test(text);
        expect(accepts(dfaOf(piece), spelled)).toBe(expected);
        expect(accepts(dfaOf(finish(minimal(piece))), spelled)).toBe(expected);
      }),
      effort(300),
    );
  });

  it("knows the shortest way to its end from everywhere", () => {
    fc.assert(
      fc.property(expression, letters, (pattern, parts) => {
        const automaton = dfaOf(finish(regexPiece(pattern, { spell: oneOf, match: "whole" })));
        let state = automaton.start;
        const bytes: number[] = [];
        for (const byte of Buffer.from(parts.join(""))) {
          const next = automaton.next(state, byte);
          if (next < 0) break;
          bytes.push(byte);
          state = next;
        }
        const rest = completion(automaton, state);
        expect(rest).toHaveLength(automaton.distance(state));
        expect(accepts(automaton, Buffer.from([...bytes, ...rest]).toString())).toBe(true);
      }),
      effort(300),
    );
  });

  const bound = fc.oneof(
    fc.integer({ min: -2000, max: 2000 }),
    fc.integer({ min: -10_000, max: 10_000 }).map((value) => value / 100),
    fc.constantFrom(0, 1e-7, -1e-7, 1e15, -123456.789, 0.1, 9.99, 100),
  );

  it("reads numbers between bounds", () => {
    fc.assert(
      fc.property(bound, bound, bound, fc.boolean(), fc.boolean(), (a, b, value, open, integer) => {
        const [low, high] = [Math.min(a, b), Math.max(a, b)];
        const rule = finish(
          formedNumber({
            integer,
            from: [{ value: low, exclusive: open }],
            upTo: [{ value: high, exclusive: open }],
          }),
        );
        if (rule.kind !== "match") throw new Error(rule.kind);
        const inside = open ? low < value && value < high : low <= value && value <= high;
        const text = String(value);
        // The spelling of JSON numbers with exponents is not used where there are bounds.
        const plain = /^-?\d{1,15}(\.\d+)?$/u.test(text) && text.length <= 16;
        const right = inside && plain && (!integer || Number.isInteger(value));
        expect(accepts(rule.automaton, text), `${low} ${text} ${high}`).toBe(right);
      }),
      effort(400),
    );
  });

  it("reads strings of JSON with as many characters as wanted, and no others", () => {
    const text = fc.string({ unit: "binary", maxLength: 8 });
    fc.assert(
      fc.property(text, fc.nat(6), fc.nat(6), (value, min, more) => {
        const spelled = JSON.stringify(value.toWellFormed());
        const { length } = [...value.toWellFormed()];
        const automaton = new JsonText(min, min + more);
        // The deletion character is not written plainly.
        const expected = min <= length && length <= min + more && !spelled.includes("\u007f");
        expect(accepts(automaton, spelled)).toBe(expected);
      }),
      effort(400),
    );
    for (const wrong of ['"\\ud83d"', '"\\x"', '"a', "a", '"\n"', '"\\u12"', '"""']) {
      expect(accepts(new JsonText(), wrong)).toBe(false);
    }
    expect(accepts(new JsonText(1, 1), '"\\u732B"')).toBe(true);
  });

  it("spells sets of code points in UTF-8, none more and none less", () => {
    const range = fc
      .tuple(fc.nat(0x10ffff), fc.nat(0x3000))
      .map(([first, width]) => [first, Math.min(0x10ffff, first + width)] as const);
    fc.assert(
      fc.property(
        fc.array(range, { minLength: 1, maxLength: 3 }),
        fc.nat(0x10ffff),
        (set, point) => {
          fc.pre(point < 0xd800 || point > 0xdfff);
          const inside = set.some(([first, last]) => first <= point && point <= last);
          const bytes = [...Buffer.from(String.fromCodePoint(point))];
          const spelled = (points: typeof set) =>
            utf8Sequences(points).some(
              (sequence) =>
                sequence.length === bytes.length &&
                sequence.every(([first, last], i) => first <= bytes[i]! && bytes[i]! <= last),
            );
          expect(spelled(union(set) as typeof set)).toBe(inside);
          expect(spelled(complement(set) as typeof set)).toBe(!inside);
        },
      ),
      effort(400),
    );
  });

  it("has distances that no step undercuts", () => {
    const piece = finish(regexPiece("(ab|c{3})+x?", { spell: oneOf, match: "whole" }));
    const nfa = finish(ByteNfa.of(piece));
    const distances = finish(nfa.distances());
    expect(distances[0]).toBe(2);
    expect(distances[nfa.end]).toBe(0);
  });
});
