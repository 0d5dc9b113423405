// JSON with comments, as people write it. In: the text of a file. Out: the value, and where in the text each part of it
// stands; or every mistake of the notation. It knows nothing of what the value means. The only file with jsonc-parser.

import {
  findNodeAtLocation,
  type Node,
  type ParseError,
  parseTree,
  printParseErrorCode,
} from "jsonc-parser";

/** A place in a text, both counted from 1. */
export interface Place {
  readonly line: number;
  readonly column: number;
}

/** Something wrong in a file, in one line. */
export interface Problem {
  readonly place: Place;
  readonly text: string;
  /** Names that would have been known here; the same for every name of a place that is not. */
  readonly known?: readonly string[];
}

/** A file whose notation is right. */
export interface ConfigText {
  readonly value: unknown;
  /** Where the value behind these keys begins; of the nearest one around it that is there. */
  placeOf(keys: readonly PropertyKey[]): Place;
  /** Where the last of these keys itself stands. */
  placeOfKey(keys: readonly PropertyKey[]): Place;
}

/** The whole file, when something is wrong that has no place of its own. */
const START: Place = { line: 1, column: 1 };

const WORDS: Readonly<Record<string, string>> = {
  InvalidSymbol: "this is no JSON: texts stand in double quotes",
  InvalidNumberFormat: "this number is not written as JSON writes them",
  PropertyNameExpected: "a name in double quotes is missing",
  ValueExpected: "a value is missing",
  ColonExpected: "a colon is missing",
  CommaExpected: "a comma is missing",
  CloseBraceExpected: "a closing } is missing",
  CloseBracketExpected: "a closing ] is missing",
  EndOfFileExpected: "nothing may follow the end",
  UnexpectedEndOfComment: "a comment does not end",
  UnexpectedEndOfString: "a text does not end in its line",
  UnexpectedEndOfNumber: "a number does not end",
  InvalidUnicode: "\\u wants four hexadecimal digits",
  InvalidEscapeCharacter: "a backslash in a text is written \\\\",
  InvalidCharacter: "a character that does not belong into a text",
};

/** Reads a text; comments and commas behind the last element are fine. */
export function parseConfigText(source: string): ConfigText | readonly Problem[] {
  // Editors on Windows put a byte order mark in front.
  const text = source.replace(/^\uFEFF/u, "");
  const errors: ParseError[] = [];
  try {
    const tree = parseTree(text, errors, { allowTrailingComma: true });
    if (errors.length > 0 || tree === undefined) {
      if (tree === undefined && text.trim() === "") {
        return [{ place: START, text: "the file is empty" }];
      }
      return onePerPlace(
        errors.map(({ error, offset }) => ({
          place: placeAt(text, offset),
          text: WORDS[printParseErrorCode(error)] ?? "this is no JSON",
        })),
      );
    }
    const twice = repeatedKeys(tree, text);
    return twice.length > 0 ? twice : new ParsedText(text, tree);
  } catch (error) {
    if (!(error instanceof RangeError)) throw error;
    return [{ place: START, text: "the file is nested too deeply" }];
  }
}

class ParsedText implements ConfigText {
  readonly value: unknown;
  readonly #text: string;
  readonly #tree: Node;

  constructor(text: string, tree: Node) {
    this.#text = text;
    this.#tree = tree;
    this.value = plainValue(tree);
  }

  placeOf(keys: readonly PropertyKey[]): Place {
    return placeAt(this.#text, this.#nearest(keys).offset);
  }

  placeOfKey(keys: readonly PropertyKey[]): Place {
    const node = this.#nearest(keys);
    return placeAt(this.#text, (node.parent?.type === "property" ? node.parent : node).offset);
  }

  #nearest(keys: readonly PropertyKey[]): Node {
    for (let length = keys.length; length > 0; length--) {
      const path = keys
        .slice(0, length)
        .map((key) => (typeof key === "number" ? key : String(key)));
      const node = findNodeAtLocation(this.#tree, path);
      if (node !== undefined) return node;
    }
    return this.#tree;
  }
}

/** Own properties only: a key such as `__proto__` is a key like any other. */
function plainValue({ type, value, children = [] }: Node): unknown {
  if (type === "array") return children.map(plainValue);
  if (type !== "object") return value;
  const result: Record<string, unknown> = {};
  for (const { children: [key, inner] = [] } of children) {
    if (key === undefined || inner === undefined) continue;
    Object.defineProperty(result, key.value, {
      value: plainValue(inner),
      enumerable: true,
      configurable: true,
      writable: true,
    });
  }
  return result;
}

/** The second one would win, and nobody would know. */
function repeatedKeys(node: Node, text: string): readonly Problem[] {
  const keys =
    node.type === "object" ? (node.children ?? []).map(({ children }) => children?.[0]) : [];
  const names = keys.map((key) => key?.value);
  const here = keys.flatMap((key, index) =>
    key !== undefined && names.indexOf(key.value) !== index
      ? [{ place: placeAt(text, key.offset), text: "this key stands here for the second time" }]
      : [],
  );
  return [...here, ...(node.children ?? []).flatMap((child) => repeatedKeys(child, text))];
}

/** One slip of the pen often confuses a parser several times at one place. */
function onePerPlace(problems: readonly Problem[]): readonly Problem[] {
  const lines = problems.map(({ place }) => place.line);
  return problems.filter(({ place }, index) => lines.indexOf(place.line) === index);
}

function placeAt(text: string, offset: number): Place {
  const before = text.slice(0, offset).split(/\r\n|\n|\r/u);
  return { line: before.length, column: (before.at(-1)?.length ?? 0) + 1 };
}
