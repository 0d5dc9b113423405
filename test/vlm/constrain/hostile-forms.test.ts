// Forms that are made to take for ever: each is kept or refused as too complex, and what it costs is counted, not timed.

import { beforeAll, describe, expect, it } from "vitest";
import type { Constraint } from "../../../src/vlm/constrain/constraint.ts";
import { allows } from "../../../src/vlm/constrain/local-mask.ts";
import { ResponseFormats } from "../../../src/vlm/constrain/response-format.ts";
import { ResponseFormatError } from "../../../src/vlm/errors.ts";
import type { Tokenizer } from "../../../src/vlm/text/tokenizer.ts";
import type { ResponseFormat } from "../../../src/vlm/vision-language-model.ts";
import { loadQwen3 } from "../text/tokenizers.ts";

const regex = (pattern: string): ResponseFormat => ({ type: "regex", pattern });
const json = (schema: Record<string, unknown>): ResponseFormat => ({ type: "json", schema });
const deep = (levels: number) => {
  let schema: Record<string, unknown> = { type: "null" };
  for (let i = 0; i < levels; i++) schema = { type: "array", items: schema };
  return json(schema);
};
const each = <T>(count: number, make: (index: number) => T) =>
  Array.from({ length: count }, (_, index) => make(index));

const FORMS: Record<string, ResponseFormat> = {
  "an expression that remembers": regex("(a|b)*a(a|b){20}"),
  "one that remembers anything": regex(".*a.{20}"),
  "nested bounds": regex("(.{1,30}){1,30}"),
  "bounds of bounds of bounds": regex("(((a{1,30}){1,30}){1,30}){1,30}"),
  "a large bound": regex("a{100000}"),
  "stars of stars": regex("((.*.*)*.*)*x"),
  "many ways": regex(each(3000, (index) => `w${index}.*`).join("|")),
  "a schema 1000 deep": deep(1000),
  "a schema 100 000 deep": deep(100_000),
  "a huge enum": json({ enum: each(200_000, (index) => `value ${index}`) }),
  "a large enum": json({ enum: each(10_000, (index) => `value ${index}`) }),
  "a list of 10^9": json({ type: "array", items: { type: "integer" }, minItems: 1e9 }),
  "a string of 10^9": json({ type: "string", minLength: 1e9 }),
  "a string of up to 10^9": json({ type: "string", maxLength: 1e9 }),
  "a list of up to 10^9": json({ type: "array", items: { type: "string" }, maxItems: 1e9 }),
  "2000 keys, all optional": json({
    type: "object",
    properties: Object.fromEntries(each(2000, (index) => [`k${index}`, { type: "integer" }])),
  }),
  "1000 kinds of objects": json({
    anyOf: each(1000, (index) => ({
      type: "object",
      properties: { [`k${index}`]: { type: "string" } },
      required: [`k${index}`],
    })),
  }),
  "200 patterns at once": json({
    anyOf: each(200, (index) => ({ type: "string", pattern: `x.{${index}}y` })),
  }),
  itself: json({ $ref: "#" }),
  "nothing but each other": json({
    $defs: { a: { $ref: "#/$defs/b" }, b: { $ref: "#/$defs/a" } },
    $ref: "#/$defs/a",
  }),
  "itself or nothing": json({ anyOf: [{ $ref: "#" }, { type: "null" }] }),
};

/** What is refused from the start; the others are kept for as long as they are written. */
const REFUSED = [
  "bounds of bounds of bounds",
  "a large bound",
  "a schema 1000 deep",
  "a schema 100 000 deep",
  "a huge enum",
  "a list of 10^9",
  "a string of 10^9",
  "200 patterns at once",
  "itself",
  "nothing but each other",
];

describe("a form that is made to take for ever", () => {
  let tokenizer: Tokenizer;
  let formats: ResponseFormats;

  beforeAll(async () => {
    tokenizer = await loadQwen3();
    formats = new ResponseFormats({
      size: tokenizer.size,
      isAdded: (id) => tokenizer.isAdded(id),
      tokenBytes: (id) => tokenizer.tokenBytes(id),
      endIds: new Set(tokenizer.stopTokenIds),
    });
  });

  /** Goes on with every hundredth token that may come, or the only one. */
  function write(constraint: Constraint, tokens: number): void {
    for (let count = 0; count < tokens && !constraint.ended; count++) {
      const { mask } = constraint;
      const allowed: number[] = [];
      for (let id = 0; id < tokenizer.size; id++) {
        if (allows(mask, id) && !tokenizer.stopTokenIds.includes(id)) allowed.push(id);
      }
      const id = allowed[(count * 100) % allowed.length];
      if (id === undefined) return;
      constraint.accept(id);
    }
  }

  it.each(Object.keys(FORMS))("%s", async (name) => {
    const made = formats.constraint(FORMS[name]!);
    if (REFUSED.includes(name)) {
      const error: unknown = await made.catch((reason: unknown) => reason);
      expect(error).toBeInstanceOf(ResponseFormatError);
      return;
    }
    const constraint = await made;
    try {
      write(constraint, 12);
    } catch (error) {
      // It may turn out on the way that it has become too much.
      expect(error).toMatchObject({ code: "response-format-too-complex" });
    }
    // Whatever it was, the next answer is not affected.
    const after = await formats.constraint({ type: "choice", options: ["yes"] });
    after.accept(tokenizer.encodeText("yes")[0]!);
    expect(after.ended).toBe(true);
  });
});
