// The words of JSON as automata: punctuation with the white space that models write around it, numbers, strings with a
// pattern. In: what is known of a value. Out: rules of a grammar. It knows no schemas.

import { LRUCache } from "lru-cache";
import { all } from "./both.ts";
import { anyText, either, literal, oneOf, type Piece, repeated, sequence } from "./byte-nfa.ts";
import { ANY, type CodePoints, only, union, without } from "./code-points.ts";
import { type Bound, numbersFrom, numbersUpTo } from "./decimal-range.ts";
import type { Effort } from "./effort.ts";
import { match, type Rule } from "./grammar.ts";
import { LazyDfa } from "./lazy-dfa.ts";
import { regexPiece } from "./regex.ts";
import { finish, type Steps } from "./steps.ts";

/** Nothing, a space, or a new line with its indentation: endless white space is no answer. */
const SPACE = either(
  literal(""),
  literal(" "),
  sequence(literal("\n"), repeated(literal(" "), 0, 32)),
);

const shared = new Map<string, Rule>();

/** One small rule for what is spelled alike: what is found out about it is found out once. */
function once(name: string, piece: () => Piece): Rule {
  let rule = shared.get(name);
  if (!rule) {
    rule = match(finish(LazyDfa.of(piece())));
    shared.set(name, rule);
  }
  return rule;
}

/** White space, the mark, white space. */
export function punctuation(mark: "{" | "}" | "[" | "]" | ","): Rule {
  const opens = mark === "{" || mark === "[";
  const closes = mark === "}" || mark === "]";
  return once(mark, () =>
    sequence(closes ? SPACE : literal(""), literal(mark), opens || closes ? literal("") : SPACE),
  );
}

export function space(): Rule {
  return once("space", () => SPACE);
}

/** Keys of one form are often those of the next. */
const keys = new LRUCache<string, Rule>({ max: 1024 });

/** A key and its colon. */
export function* key(name: string): Steps<Rule> {
  const known = keys.get(name);
  if (known) return known;
  const piece = sequence(literal(`${JSON.stringify(name)}:`), oneSpace);
  const rule = match(yield* LazyDfa.of(piece));
  keys.set(name, rule);
  return rule;
}

const oneSpace: Piece = repeated(literal(" "), 0, 1);

/** Characters that stand for themselves in a string of JSON. */
const PLAIN: CodePoints = without(
  ANY,
  union([
    [0, 0x1f],
    [0x22, 0x22],
    [0x5c, 0x5c],
  ]),
);
const SHORT_ESCAPES: Readonly<Record<number, string>> = {
  8: "\\b",
  9: "\\t",
  10: "\\n",
  12: "\\f",
  13: "\\r",
  34: '\\"',
  92: "\\\\",
};

/** One character of a set as a string of JSON spells it. */
export function spellInJson(set: CodePoints): Piece {
  const escaped = without(set, PLAIN).flatMap(([first, last]) =>
    Array.from({ length: last - first + 1 }, (_, i) => first + i),
  );
  const spellings = escaped.map(
    (point) => SHORT_ESCAPES[point] ?? `\\u${point.toString(16).padStart(4, "0")}`,
  );
  const plain = oneOf(only(set, PLAIN));
  return spellings.length === 0 ? plain : either(plain, anyText(spellings));
}

/** A key that is none of some others, and its colon. Without escapes, so that none can be spelled in another way. */
export function* otherKey(
  names: Iterable<string>,
  pieces: readonly Piece[] = [],
  effort?: Effort,
): Steps<Rule> {
  const free = textExcept(names);
  const inside = yield* all(free, ...pieces);
  return match(yield* LazyDfa.of(sequence(literal('"'), inside, literal('":'), oneSpace), effort));
}

interface NameTree {
  readonly children: Map<number, NameTree>;
  taken: boolean;
}

/** Any plain text that is none of the names. */
function textExcept(names: Iterable<string>): Piece {
  const root: NameTree = { children: new Map(), taken: false };
  for (const name of names) {
    let at = root;
    for (const character of name) {
      const point = character.codePointAt(0)!;
      const child: NameTree = at.children.get(point) ?? { children: new Map(), taken: false };
      at.children.set(point, child);
      at = child;
    }
    at.taken = true;
  }
  const rest = repeated(oneOf(PLAIN), 0, Number.POSITIVE_INFINITY);
  const pieceOf = ({ children, taken }: NameTree): Piece => {
    const named = union([...children.keys()].map((point) => [point, point] as const));
    return either(
      ...(taken ? [] : [literal("")]),
      sequence(oneOf(without(PLAIN, named)), rest),
      ...[...children]
        .filter(([point]) => only([[point, point]], PLAIN).length > 0)
        .map(([point, child]) => sequence(oneOf([[point, point]]), pieceOf(child))),
    );
  };
  return pieceOf(root);
}

export interface TextForm {
  /** Each must be found somewhere in the text. */
  readonly patterns: readonly string[];
  readonly minLength: number;
  readonly maxLength: number;
}

/** A string of JSON whose text has a form. @throws UnsupportedPatternError, TooComplexError */
export function* formedText(form: TextForm, effort: Effort): Steps<Rule> {
  const inside = yield* formPiece(form);
  return match(yield* LazyDfa.of(sequence(literal('"'), inside, literal('"')), effort));
}

/** The same without its quotes; `plain`: without escapes. */
export function* formPiece(
  { patterns, minLength, maxLength }: TextForm,
  spell: (set: CodePoints) => Piece = spellInJson,
): Steps<Piece> {
  const pieces: Piece[] = [];
  for (const pattern of patterns) {
    pieces.push(yield* regexPiece(pattern, { spell, match: "somewhere" }));
  }
  if (minLength > 0 || maxLength < Number.POSITIVE_INFINITY || pieces.length === 0) {
    pieces.push(repeated(spell(ANY), minLength, maxLength));
  }
  return yield* all(pieces[0]!, ...pieces.slice(1));
}

export function spellPlainly(set: CodePoints): Piece {
  return oneOf(only(set, PLAIN));
}

export interface NumberForm {
  readonly integer: boolean;
  readonly from: readonly Bound[];
  readonly upTo: readonly Bound[];
}

const SAFE = Number.MAX_SAFE_INTEGER;

function plain(pattern: string): Steps<Piece> {
  return regexPiece(pattern, { spell: oneOf, match: "whole" });
}

/** What was made for a form of numbers is likely to be needed again. */
const numbers = new LRUCache<string, Rule>({ max: 64 });

/** A number that every reader of JSON understands as it was written. */
export function* formedNumber(form: NumberForm): Steps<Rule> {
  if (!form.integer && form.from.length === 0 && form.upTo.length === 0) return anyNumber();
  const name = JSON.stringify(form);
  const known = numbers.get(name);
  if (known) return known;
  const rule = match(yield* LazyDfa.of(yield* numberPiece(form)));
  numbers.set(name, rule);
  return rule;
}

/** Up to 15 digits a number is what it looks like; integers are compared as such. */
function* digits(integer: boolean): Steps<Piece> {
  if (integer) return yield* plain("-?(?:0|[1-9]\\d*)");
  const written = yield* plain("-?(?:0|[1-9]\\d*)(?:\\.\\d+)?");
  return yield* all(written, yield* plain("-?(?:\\d{1,15}|[\\d.]{1,16})"));
}

/** Without bounds of their own, numbers stay within those that are exact. */
function* numberPiece({ integer, from, upTo }: NumberForm): Steps<Piece> {
  const lower = from.length > 0 ? from : [{ value: -SAFE, exclusive: false }];
  const upper = upTo.length > 0 ? upTo : [{ value: SAFE, exclusive: false }];
  const bounds: Piece[] = [];
  for (const bound of lower) bounds.push(yield* plain(numbersFrom(bound)));
  for (const bound of upper) bounds.push(yield* plain(numbersUpTo(bound)));
  return yield* all(yield* digits(integer), ...bounds);
}

export function anyNumber(): Rule {
  return once("number", () =>
    finish(plain("-?(?:0|[1-9]\\d{0,14})(?:\\.\\d{1,15})?(?:[eE][+-]?\\d{1,2})?")),
  );
}

/** One of a few texts, letter by letter. */
export function* oneText(texts: readonly string[]): Steps<Rule> {
  return match(yield* LazyDfa.of(anyText(texts)));
}

/** A word of JSON's own. */
export function word(...words: readonly ("true" | "false" | "null")[]): Rule {
  return once(words.join(), () => anyText(words));
}
