// Regular expressions as people and JSON schemas write them, as pieces of a byte automaton. The only file that imports
// @eslint-community/regexpp, which reads them exactly as ECMAScript does. In: a pattern. Out: a piece for all texts it
// describes, or the construct that no automaton can keep. It knows no JSON; how a character is spelled is told.

import { type AST, RegExpParser } from "@eslint-community/regexpp";
import { either, nothing, type Piece, repeated, sequence } from "./byte-nfa.ts";
import { ANY, type CodePointRange, type CodePoints, complement, union } from "./code-points.ts";
import type { Steps } from "./steps.ts";
import { TooComplexError } from "./too-complex.ts";

/** A pattern that cannot be kept. `construct` is what in it. */
export class UnsupportedPatternError extends Error {
  override readonly name = "UnsupportedPatternError";
  readonly construct: string;

  constructor(construct: string, message: string) {
    super(message);
    this.construct = construct;
  }
}

export interface RegexOptions {
  /** How one character of a set is written. */
  readonly spell: (set: CodePoints) => Piece;
  /** `whole`: the text is what the pattern describes; `somewhere`: it contains it, as in a JSON schema. */
  readonly match: "whole" | "somewhere";
}

const LINE_ENDS: CodePoints = union([
  [0x0a, 0x0a],
  [0x0d, 0x0d],
  [0x2028, 0x2029],
]);
const DIGITS: CodePoints = [[0x30, 0x39]];
const WORD: CodePoints = union([
  [0x30, 0x39],
  [0x41, 0x5a],
  [0x5f, 0x5f],
  [0x61, 0x7a],
]);
const SPACE: CodePoints = union([
  [0x09, 0x0d],
  [0x20, 0x20],
  [0xa0, 0xa0],
  [0x1680, 0x1680],
  [0x2000, 0x200a],
  [0x2028, 0x2029],
  [0x202f, 0x202f],
  [0x205f, 0x205f],
  [0x3000, 0x3000],
  [0xfeff, 0xfeff],
]);

/** Characters of one alternative, which are read at once. */
const MOST_CHARACTERS = 4096;
const MOST_NESTED = 100;

/** @throws UnsupportedPatternError, TooComplexError */
export function* regexPiece(pattern: string, options: RegexOptions): Steps<Piece> {
  const pieces: Piece[] = [];
  for (const part of alternatives(pattern)) {
    for (const { elements } of parse(part).alternatives) {
      pieces.push(yield* alternativePiece(elements, options));
    }
    yield;
  }
  return either(...pieces);
}

function* alternativePiece(elements: readonly AST.Element[], options: RegexOptions): Steps<Piece> {
  const anything = repeated(options.spell(ANY), 0, Number.POSITIVE_INFINITY);
  const loose = options.match === "somewhere";
  const starts = isAnchor(elements[0], "start");
  const ends = isAnchor(elements.at(-1), "end");
  const inner = elements.slice(starts ? 1 : 0, ends ? elements.length - 1 : elements.length);
  return sequence(
    starts || !loose ? nothing : anything,
    yield* sequenceOf(inner, options),
    ends || !loose ? nothing : anything,
  );
}

/** What stands between the outermost bars: each can be read by itself. @throws TooComplexError */
function* alternatives(pattern: string): Generator<string> {
  let [start, nested, inClass] = [0, 0, false];
  for (let at = 0; at <= pattern.length; at++) {
    const character = pattern[at];
    if (character === undefined || (character === "|" && nested === 0 && !inClass)) {
      yield pattern.slice(start, at);
      start = at + 1;
    } else if (character === "\\") at++;
    else if (inClass) inClass = character !== "]";
    else if (character === "[") inClass = true;
    else if (character === "(") nested++;
    else if (character === ")") nested--;
    if (nested > MOST_NESTED) throw new TooComplexError("its groups are nested too deeply");
    if (at - start > MOST_CHARACTERS) throw new TooComplexError("its pattern is too long");
  }
}

function parse(pattern: string): AST.Pattern {
  try {
    return new RegExpParser({ ecmaVersion: 2024 }).parsePattern(pattern, 0, pattern.length, {
      unicode: true,
    });
  } catch (error) {
    throw new UnsupportedPatternError("syntax", error instanceof Error ? error.message : "");
  }
}

function isAnchor(element: AST.Element | undefined, kind: "start" | "end"): boolean {
  return element?.type === "Assertion" && element.kind === kind;
}

function* pieceOf(element: AST.Element, options: RegexOptions): Steps<Piece> {
  switch (element.type) {
    case "Group":
      if (element.modifiers) throw refuse("modifiers of a group", element);
      return yield* alternativesOf(element.alternatives, options);
    case "CapturingGroup":
      return yield* alternativesOf(element.alternatives, options);
    case "Quantifier": {
      if (element.element.type === "Assertion") throw refuse("a repeated assertion", element);
      return repeated(yield* pieceOf(element.element, options), element.min, element.max);
    }
    case "Character":
    case "CharacterClass":
    case "CharacterSet":
      return options.spell(yield* setOf(element));
    case "Assertion":
      if (element.kind === "lookahead") throw refuse("lookahead", element);
      if (element.kind === "lookbehind") throw refuse("lookbehind", element);
      if (element.kind === "word") throw refuse("a word boundary", element);
      throw refuse(element.kind === "start" ? "`^` inside" : "`$` inside", element);
    case "Backreference":
      throw refuse("a backreference", element);
    default:
      throw refuse(element.type, element);
  }
}

function* sequenceOf(elements: readonly AST.Element[], options: RegexOptions): Steps<Piece> {
  const pieces: Piece[] = [];
  for (const element of elements) {
    pieces.push(yield* pieceOf(element, options));
    if (pieces.length % ELEMENTS_A_STEP === 0) yield;
  }
  return sequence(...pieces);
}

const ELEMENTS_A_STEP = 64;

function* alternativesOf(
  alternatives: readonly AST.Alternative[],
  options: RegexOptions,
): Steps<Piece> {
  const pieces: Piece[] = [];
  for (const { elements } of alternatives) pieces.push(yield* sequenceOf(elements, options));
  return either(...pieces);
}

function* setOf(element: AST.Node): Steps<CodePoints> {
  switch (element.type) {
    case "Character":
      return union([[element.value, element.value]]);
    case "CharacterClassRange":
      return union([[element.min.value, element.max.value]]);
    case "CharacterClass": {
      const parts: CodePoints[] = [];
      for (const part of element.elements) parts.push(yield* setOf(part));
      const set = union(...parts);
      return element.negate ? complement(set) : set;
    }
    case "CharacterSet": {
      const set = yield* namedSet(element);
      return "negate" in element && element.negate ? complement(set) : set;
    }
    default:
      throw refuse(element.type, element);
  }
}

function* namedSet(element: AST.CharacterSet): Steps<CodePoints> {
  switch (element.kind) {
    case "any":
      return complement(LINE_ENDS);
    case "digit":
      return DIGITS;
    case "space":
      return SPACE;
    case "word":
      return WORD;
    case "property":
      return yield* propertySet(element.key, element.value);
  }
}

/** All code points, in blocks that do not cross from those of two bytes to those of four, nor touch surrogates. */
const BLOCKS: CodePoints = ANY.flatMap(([first, last]) =>
  Array.from(
    { length: Math.ceil((last - first + 1) / 0x800) },
    (_, i): CodePointRange => [first + 0x800 * i, Math.min(last, first + 0x800 * (i + 1) - 1)],
  ),
);
const PROPERTIES = new Map<string, CodePoints>();

/** Whatever this engine's own expressions find. */
function* propertySet(key: string, value: string | null): Steps<CodePoints> {
  const name = value === null ? key : `${key}=${value}`;
  const known = PROPERTIES.get(name);
  if (known) return known;
  const expression = new RegExp(`\\p{${name}}+`, "gu");
  const found: CodePointRange[] = [];
  for (const [first, last] of BLOCKS) {
    const points = Array.from({ length: last - first + 1 }, (_, i) => first + i);
    const text = String.fromCodePoint(...points);
    // Code points of a block are all of one width.
    const width = text.length / points.length;
    for (const { 0: run, index } of text.matchAll(expression)) {
      const from = first + index / width;
      found.push([from, from + run.length / width - 1]);
    }
    yield;
  }
  const set = union(found);
  PROPERTIES.set(name, set);
  return set;
}

function refuse(construct: string, { raw }: AST.Node): UnsupportedPatternError {
  return new UnsupportedPatternError(
    construct,
    `${construct} (${raw.slice(0, 40)}) cannot be kept token by token`,
  );
}
