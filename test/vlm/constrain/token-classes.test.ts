// Tokens in kinds of characters against the walk of all tokens: the same masks and the same ends, in every state.

import { beforeAll, describe, expect, it } from "vitest";
import { literal, oneOf, repeated, sequence } from "../../../src/vlm/constrain/byte-nfa.ts";
import { CharacterKinds } from "../../../src/vlm/constrain/character-kinds.ts";
import { ANY, union } from "../../../src/vlm/constrain/code-points.ts";
import { formPiece } from "../../../src/vlm/constrain/json-terminals.ts";
import { LazyDfa } from "../../../src/vlm/constrain/lazy-dfa.ts";
import { TokenWalk } from "../../../src/vlm/constrain/local-mask.ts";
import { regexPiece } from "../../../src/vlm/constrain/regex.ts";
import { finish } from "../../../src/vlm/constrain/steps.ts";
import { TokenClasses } from "../../../src/vlm/constrain/token-classes.ts";
import { TokenTrie } from "../../../src/vlm/constrain/token-trie.ts";
import { loadTokenizer } from "../../../src/vlm/text/tokenizer.ts";
import { TINY_CHAT_DIR } from "../../support/tiny-chat.ts";

/** Parts of characters, bytes that are no text, several characters with parts of others around them. */
const AWKWARD = [
  [0xe5, 0x9b],
  [0xbe, 0xe7, 0x89],
  [0x87],
  [0x9b, 0xbe, 0x61],
  [0xf0, 0x9f, 0x98],
  [0xf0, 0x9f, 0x98, 0x80, 0x0a],
  [0xed, 0xa0, 0x80],
  [0xc0, 0xaf],
  [0xe0, 0x80, 0x80],
  [0xf4, 0x90, 0x80, 0x80],
  [0x61, 0xff],
  [0x61, 0x80],
  // The end of one character, and others behind it.
  [0xbe, ...Buffer.from("里")],
  [0xbe, ...Buffer.from("里有")],
  [0xbe, ...Buffer.from("有")],
  [0xbe, 0xe9, 0x87],
  [0x9b, 0xbe, 0xe9],
  [...Buffer.from("图"), 0xe9, 0x87],
  [...Buffer.from("图"), 0xe9, 0x86],
  [...Buffer.from("图里"), 0xe6, 0x9c],
  [0x80, 0x61],
  [...Buffer.from('a", "')],
  [...Buffer.from("é\\u00e9")],
  [...Buffer.from("x".repeat(200))],
];

let trie: TokenTrie;
beforeAll(async () => {
  const tokenizer = await loadTokenizer(TINY_CHAT_DIR);
  const bytesOf = (id: number) =>
    id < AWKWARD.length
      ? Uint8Array.from(AWKWARD[id]!)
      : tokenizer.isAdded(id - AWKWARD.length)
        ? undefined
        : tokenizer.tokenBytes(id - AWKWARD.length);
  trie = finish(TokenTrie.build(tokenizer.size + AWKWARD.length, bytesOf));
});

const pattern = (text: string) => finish(regexPiece(text, { spell: oneOf, match: "whole" }));
const formed = (form: Partial<Parameters<typeof formPiece>[0]>) =>
  finish(formPiece({ patterns: [], minLength: 0, maxLength: Number.POSITIVE_INFINITY, ...form }));

describe("tokens in kinds of characters", () => {
  it.each([
    [".{0,30}", () => pattern(".{0,30}")],
    ["[\\s\\S]{2,9}", () => pattern("[\\s\\S]{2,9}")],
    ["letters and numbers", () => pattern("(?:\\p{L}+ ?){0,5}\\d?")],
    ["Han, or words in capitals", () => pattern("\\p{Script=Han}{1,12}|[A-Z]{2,6}")],
    ["what stands in literals", () => pattern("(?:图里有|一只?[^，。]+猫|\\w*e)+。?")],
    [
      "letters behind the end of a character",
      () => sequence(literal("图里有"), repeated(oneOf(union([[0x4e00, 0x9fff]])), 0, 3)),
    ],
    ["beyond the basic plane", () => pattern("[\\u{1F600}-\\u{1F64F}]?[^\\u{1F601}]*")],
    ["a string of JSON with a pattern", () => formed({ patterns: ["^[^<>]{0,20}$"] })],
    ["one with bounds as well", () => formed({ patterns: ["a"], minLength: 3, maxLength: 12 })],
  ])("are what the walk finds: %s", (_, piece) => {
    const automaton = finish(LazyDfa.of(piece()));
    const kinds = finish(CharacterKinds.of(automaton.sets, automaton.texts))!;
    const classes = finish(TokenClasses.build(trie, kinds));
    const walk = new TokenWalk(trie);
    let [allowed, fitting] = [0, 0];
    // Every state that some text has reached, those inside of characters among them.
    for (let state = 0; state < Math.min(automaton.size, 150); state++) {
      const expected = finish(walk.from(automaton, state));
      const found = finish(classes.from(automaton, state));
      if (!found) continue;
      fitting++;
      const bits = expected.bits ?? new Uint32Array(found.bits!.length);
      for (const id of expected.ids ?? []) bits[id >>> 5]! |= 1 << (id & 31);
      expect(found.bits).toEqual(bits);
      const ends = Array.from({ length: trie.nodes }, (_unused, node) => node).filter(
        (node) => trie.end[node]! > node + 1 && found.mayEnd!(node),
      );
      expect(ends).toEqual([...expected.exits]);
      allowed += bits.reduce((sum, word) => sum + (word === 0 ? 0 : 1), 0);
    }
    expect(allowed).toBeGreaterThan(0);
    expect(fitting).toBeGreaterThan(automaton.size / 20);
  });

  it("have one kind for what no set tells apart", () => {
    const [digits, letters] = [union([[0x30, 0x39]]), union([[0x61, 0x7a]])];
    const kinds = finish(
      CharacterKinds.of([ANY, digits, letters, union([[0x41, 0x41]])], ["\\nab"]),
    )!;
    const of = (character: string) => kinds.of(character.codePointAt(0)!);
    expect(of("0")).toBe(of("9"));
    expect(of("图")).toBe(of("😀"));
    expect(new Set(["0", "a", "A", "B"].map(of)).size).toBe(4);
    expect(of("B")).toBe(of("图"));
    // Letters of a text are of the same kind as others, but behind its beginning.
    expect(of("a")).toBe(of("z"));
    expect(kinds.of(0x61, true)).not.toBe(kinds.of(0x7a, true));
    expect([kinds.begins(0x5c), kinds.begins(0x61), kinds.reach]).toEqual([true, false, 3]);
    expect(kinds.of(0xd800)).toBeUndefined();
    for (const character of ["0", "a", "A", "图"]) {
      const example = Buffer.from(kinds.example(of(character)!)).toString("utf8");
      expect(of(example)).toBe(of(character));
    }
  });

  it("are not made of more sets than are worth it", () => {
    const many = Array.from({ length: 65 }, (_, at) => union([[at, at]]));
    expect(finish(CharacterKinds.of(many, []))).toBeUndefined();
  });
});
