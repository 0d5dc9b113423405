// JSON schemas of keywords thrown together without sense: what a reader of schemas keeps of them it must keep in any
// company, and what it cannot keep it must refuse.

import fc from "fast-check";

type Schema = Record<string, unknown>;

const type = fc.constantFrom("object", "array", "string", "number", "integer", "boolean", "null");
const name = fc.constantFrom("a", "b", "名");
const size = fc.integer({ min: 0, max: 3 });
const value = fc.constantFrom<unknown>("a", "b", "", 0, 1, 2.5, null, true, { a: 1 }, [1], []);
const bound = fc.constantFrom(-2, 0, 0.5, 1, 3);

const names = ["type", "enum", "const", "$ref", "$defs"] as const;
const objects = ["properties", "required", "additionalProperties", "propertyNames"] as const;
const arrays = ["items", "prefixItems", "additionalItems", "minItems", "maxItems"] as const;
const texts = ["minLength", "maxLength", "pattern", "format"] as const;
const numbers = ["minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"] as const;
const several = ["anyOf", "oneOf", "allOf"] as const;
const KINDS = { object: objects, array: arrays, string: texts, number: numbers } as const;

const { schema } = fc.letrec<{ schema: Schema; inner: unknown }>((tie) => {
  const inner = tie("inner");
  /** Each keyword of draft 7, 2019-09 and 2020-12 that could restrict something, with a value that it may have. */
  const keywords: Record<string, fc.Arbitrary<unknown>> = {
    type: fc.oneof(type, fc.uniqueArray(type, { minLength: 1, maxLength: 3 })),
    enum: fc.uniqueArray(value, { minLength: 1, maxLength: 4 }),
    const: value,
    anyOf: fc.array(inner, { minLength: 1, maxLength: 2 }),
    oneOf: fc.array(inner, { minLength: 1, maxLength: 2 }),
    allOf: fc.array(inner, { minLength: 1, maxLength: 2 }),
    not: inner,
    if: inner,
    // biome-ignore lint/suspicious/noThenProperty: a keyword of JSON schema
    then: inner,
    else: inner,
    $ref: fc.constantFrom("#", "#/$defs/a"),
    $defs: fc.record({ a: inner }),
    properties: fc.dictionary(name, inner, { maxKeys: 2 }),
    required: fc.uniqueArray(name, { maxLength: 2 }),
    additionalProperties: inner,
    patternProperties: fc.dictionary(fc.constantFrom("^a", "b$"), inner, { maxKeys: 1 }),
    propertyNames: fc.oneof(
      inner,
      fc.constantFrom<Schema>(
        { maxLength: 1 },
        { pattern: "^[ab]$" },
        { enum: ["a", "c"] },
        { type: "integer" },
        { minLength: 2, type: "string" },
      ),
    ),
    minProperties: size,
    maxProperties: size,
    dependentRequired: fc.constant({ a: ["b"] }),
    dependentSchemas: fc.record({ a: inner }),
    dependencies: fc.constant({ a: ["b"] }),
    unevaluatedProperties: inner,
    unevaluatedItems: inner,
    items: fc.oneof(inner, fc.array(inner, { minLength: 1, maxLength: 2 })),
    prefixItems: fc.array(inner, { minLength: 1, maxLength: 2 }),
    additionalItems: inner,
    contains: inner,
    minContains: size,
    maxContains: size,
    minItems: size,
    maxItems: size,
    uniqueItems: fc.boolean(),
    minLength: size,
    maxLength: size,
    pattern: fc.constantFrom("^a", "b$", "^[ab]{2}$", "[^ab]", "^(?=a)", "a\\b"),
    format: fc.constantFrom("date", "uuid", "email", "ipv6", "regex"),
    minimum: bound,
    maximum: bound,
    exclusiveMinimum: bound,
    exclusiveMaximum: bound,
    multipleOf: fc.constantFrom(1, 2, 0.5),
  };
  /** A few at a time: with many of them, one is always refused. */
  const some = (from: readonly string[], always: Schema = {}): fc.Arbitrary<Schema> =>
    fc
      .subarray([...from], { maxLength: 4 })
      .chain((chosen) =>
        fc.record(Object.fromEntries(chosen.map((keyword) => [keyword, keywords[keyword]!]))),
      )
      .map((chosen) => ({ ...always, ...chosen }));
  const ofOneKind = Object.entries(KINDS).map(([kind, own]) => some(own, { type: kind }));
  return {
    inner: fc.oneof(
      { maxDepth: 2, depthSize: "small" },
      fc.constantFrom<unknown>(true, false, {}, { type: "string" }, { type: "integer" }),
      tie("schema"),
    ),
    schema: fc.oneof(
      ...ofOneKind,
      some([...names, ...several]),
      some([...names, ...objects, ...arrays, ...texts, ...numbers]),
      some(Object.keys(keywords)),
    ),
  };
});

export const keywordSoup: fc.Arbitrary<Schema> = schema;
