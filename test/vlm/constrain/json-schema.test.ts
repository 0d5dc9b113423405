// Which schemas are kept, and by what name the others are refused.

import { describe, expect, it } from "vitest";
import { Lengths } from "../../../src/vlm/constrain/grammar.ts";
import { GrammarStates } from "../../../src/vlm/constrain/grammar-states.ts";
import { jsonSchemaRule } from "../../../src/vlm/constrain/json-schema.ts";
import { finish } from "../../../src/vlm/constrain/steps.ts";
import { ResponseFormatError } from "../../../src/vlm/errors.ts";

/** Does the grammar of a schema allow this text? */
function accepts(schema: Record<string, unknown>, text: string): boolean {
  const states = finish(GrammarStates.of(finish(jsonSchemaRule(schema))));
  let state = states.start;
  for (const byte of Buffer.from(text)) {
    const next = states.next(state, byte);
    if (!next) return false;
    state = next;
  }
  return state.whole;
}

function refusal(schema: unknown): ResponseFormatError {
  try {
    finish(jsonSchemaRule(schema as Record<string, unknown>));
  } catch (error) {
    if (error instanceof ResponseFormatError) return error;
    throw error;
  }
  throw new Error("It was not refused");
}

const object = (properties: object, more: object = {}) => ({ type: "object", properties, ...more });

describe("a JSON schema as a grammar", () => {
  it.each([
    [object({ a: { type: "integer" } }), '{"a":1}', true],
    [object({ a: { type: "integer" } }), '{"a": 1}', true],
    [object({ a: { type: "integer" } }), '{\n  "a": 1\n}', true],
    [object({ a: { type: "integer" } }), "{}", true],
    [object({ a: { type: "integer" } }, { required: ["a"] }), "{}", false],
    [object({ a: { type: "integer" } }), '{"b":1}', false],
    [object({ a: {}, b: {} }), '{"b":[1,{"c":null}]}', true],
    [object({ a: {}, b: {} }), '{"b":1,"a":2}', false],
    [
      object({ a: {} }, { additionalProperties: { type: "null" } }),
      '{"a":1,"c":null,"d":null}',
      true,
    ],
    [object({ a: {} }, { additionalProperties: { type: "null" } }), '{"c":null,"a":1}', false],
    [{ type: "object" }, '{"x":{"y":[true]}}', true],
    [{ type: "array" }, "[]", true],
    [
      { type: "array", items: { type: "boolean" }, minItems: 1, maxItems: 2 },
      "[true, false]",
      true,
    ],
    [
      { type: "array", items: { type: "boolean" }, minItems: 1, maxItems: 2 },
      "[true,true,true]",
      false,
    ],
    [{ type: "array", items: { type: "boolean" }, minItems: 1 }, "[ ]", false],
    [{ type: "array", prefixItems: [{ type: "null" }], items: false }, "[null]", true],
    [{ type: "array", items: [{ type: "null" }], additionalItems: false }, "[null]", true],
    [{ type: "array", items: [{ type: "null" }], additionalItems: false }, "[null, 1]", false],
    [{ items: [{ type: "null" }], additionalItems: { type: "integer" } }, "[null, 1, 2]", true],
    [{ items: [{ type: "null" }], additionalItems: { type: "integer" } }, "[1]", false],
    [{ type: "string", maxLength: 2 }, '"猫狗"', true],
    [{ type: "string", maxLength: 2 }, '"abc"', false],
    [{ type: "string", maxLength: 1 }, '"\\u732b"', true],
    [{ type: "string", minLength: 2 }, '"\\n"', false],
    [{ type: "string" }, '"\\ud83d"', false],
    [{ type: "string", pattern: "^a+$" }, '"aa"', true],
    [{ type: "string", pattern: "^a+$", maxLength: 2 }, '"aaa"', false],
    [{ type: "string", pattern: '"' }, '"x\\"y"', true],
    [{ type: "string", format: "date" }, '"2024-02-30"', false],
    [{ type: "integer", minimum: -5, maximum: 12 }, "-5", true],
    [{ type: "integer", minimum: -5, maximum: 12 }, "13", false],
    [{ type: "integer", minimum: -5, maximum: 12 }, "1.0", false],
    [{ type: "number", exclusiveMinimum: 0, maximum: 1 }, "0.001", true],
    [{ type: "number", exclusiveMinimum: 0, maximum: 1 }, "0", false],
    [{ type: "number", exclusiveMinimum: 0, maximum: 1 }, "1.01", false],
    [{ type: "number", exclusiveMinimum: 0, maximum: 1 }, "1.0", true],
    [{ enum: ["a", 1, null, { b: 2 }] }, '{"b":2}', true],
    [{ enum: ["a", 1, null], type: "string" }, "1", false],
    [{ const: "猫" }, '"猫"', true],
    [{ anyOf: [{ type: "null" }, { type: "string" }] }, "null", true],
    [{ oneOf: [{ type: "null" }, { type: "string" }] }, '"x"', true],
    [{ allOf: [{ type: "null" }] }, "null", true],
    [{ $ref: "#/$defs/a", $defs: { a: { type: "boolean" } } }, "true", true],
    [object({}, { required: ["z"], additionalProperties: true }), '{"z":0}', true],
    [
      { type: "object", propertyNames: { pattern: "^k" }, additionalProperties: {} },
      '{"k1":1}',
      true,
    ],
    [
      { type: "object", propertyNames: { pattern: "^k" }, additionalProperties: {} },
      '{"j":1}',
      false,
    ],
    [
      { type: "object", propertyNames: { enum: ["p", "q"] }, additionalProperties: {} },
      '{"q":1}',
      true,
    ],
  ] as const)("%j and %s: %s", (schema, text, expected) => {
    expect(accepts(schema as Record<string, unknown>, text)).toBe(expected);
  });

  it.each([
    [{ not: { type: "null" } }, "not"],
    [{ if: {}, else: {} }, "if"],
    [{ type: "array", uniqueItems: true }, "uniqueItems"],
    [{ type: "array", contains: {} }, "contains"],
    [{ type: "number", multipleOf: 0.5 }, "multipleOf"],
    [{ type: "object", patternProperties: {} }, "patternProperties"],
    [{ type: "object", minProperties: 1 }, "minProperties"],
    [{ type: "object", dependentRequired: {} }, "dependentRequired"],
    [{ type: "string", format: "iri" }, "format"],
    [{ $ref: "https://example.com/x.json" }, "$ref"],
    [{ $ref: "#/$defs/missing" }, "$ref"],
    [{ $ref: "#", maxItems: 1 }, "maxItems"],
    [{ allOf: [{ type: "string" }, { minLength: 1 }] }, "allOf"],
    [{ oneOf: [{ type: "string" }, { type: "string", maxLength: 1 }] }, "oneOf"],
    [{ anyOf: [] }, "anyOf"],
    [{ enum: [] }, "enum"],
    [{ enum: ["a"], type: "number" }, "enum"],
    [{ type: "text" }, "type"],
    [object({ a: {} }, { required: ["b"] }), "required"],
    [{ type: "string", minLength: 3, maxLength: 2 }, "minLength"],
    [{ type: "string", minLength: -1 }, "minLength"],
    [{ type: "array", minItems: 2, maxItems: 1 }, "minItems"],
    [{ enum: ["a"], minLength: 1 }, "minLength"],
    [{ nullable: true, type: "string" }, "nullable"],
    [{ enum: ["a"], const: "b" }, "enum"],
    [object({ a: {} }, { propertyNames: { maxLength: 0 } }), "propertyNames"],
    [object({}, { $id: "https://example.com/inner.json" }), "$id"],
    [{ items: { type: "null" }, additionalItems: false }, "additionalItems"],
    [{ items: [{}], prefixItems: [{}] }, "prefixItems"],
    [{ anyOf: [{ prefixItems: [{}] }, { items: [{}] }] }, "items"],
    [{ type: "integer", minimum: 0.2, maximum: 0.8 }, undefined],
  ])("refuses %j by the name of %s", (schema, keyword) => {
    const error = refusal({ type: "array", items: schema });
    expect(error).toMatchObject({ code: "response-format-unsupported", keyword });
    expect(error.path).toMatch(/^schema\/items|^#/u);
  });

  it("tells objects apart by a key with a value of its own", () => {
    const kind = (name: string) =>
      object({ kind: { const: name }, size: { type: "integer" } }, { required: ["kind"] });
    const schema = { oneOf: [kind("cat"), kind("dog")] };
    expect(accepts(schema, '{"kind":"dog","size":3}')).toBe(true);
    expect(accepts(schema, '{"kind":"cow"}')).toBe(false);
  });

  it("finds that a schema can never end", () => {
    const schema = {
      $ref: "#/$defs/a",
      $defs: { a: object({ a: { $ref: "#/$defs/a" } }, { required: ["a"] }) },
    };
    const rule = finish(jsonSchemaRule(schema));
    expect(finish(Lengths.of(rule)).of(rule)).toBe(Number.POSITIVE_INFINITY);
  });
});
