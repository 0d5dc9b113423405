// JSON schemas at random, of everything that answers can be held to, for properties that must hold for any of them.

import fc from "fast-check";

type Schema = Record<string, unknown>;

const name = fc.constantFrom("a", "b", "名字", 'q"q', "long key", "x_1", "\\");
const size = fc.integer({ min: 0, max: 3 });

function bounds(low: string, high: string): fc.Arbitrary<Schema> {
  return fc
    .record({ min: size, more: size, withMin: fc.boolean(), withMax: fc.boolean() })
    .map(({ min, more, withMin, withMax }) => ({
      ...(withMin ? { [low]: min } : {}),
      ...(withMax ? { [high]: min + more } : {}),
    }));
}

const decimal = fc.oneof(
  fc.integer({ min: -1200, max: 1200 }),
  fc.integer({ min: -99_999, max: 99_999 }).map((value) => value / 1000),
);

const number: fc.Arbitrary<Schema> = fc
  .record({
    type: fc.constantFrom("integer", "number"),
    low: decimal,
    range: fc.integer({ min: 2, max: 500 }),
    bounds: fc.constantFrom("none", "low", "high", "both", "open"),
  })
  .map(({ type, low, range, bounds: kind }) => {
    const high = Math.round((low + range) * 1000) / 1000;
    switch (kind) {
      case "low":
        return { type, minimum: low };
      case "high":
        return { type, maximum: high };
      case "both":
        return { type, minimum: low, maximum: high };
      case "open":
        return { type, exclusiveMinimum: low, exclusiveMaximum: high };
      default:
        return { type };
    }
  });

const string: fc.Arbitrary<Schema> = fc.oneof(
  bounds("minLength", "maxLength").map((more) => ({ type: "string", ...more })),
  fc
    .constantFrom(
      "^[a-z]{2,4}\\d?$",
      "b",
      "^\\p{Lu}.*x$",
      '^["\\\\/]+$',
      "^(猫|狗|a\\s+b)*$",
      "[^a-z]$",
    )
    .map((pattern) => ({ type: "string", pattern })),
  fc
    .constantFrom("date", "time", "date-time", "uuid", "ipv4", "email", "hostname", "uri")
    .map((format) => ({ type: "string", format })),
);

const value: fc.Arbitrary<Schema> = fc.oneof(
  fc.uniqueArray(fc.jsonValue({ maxDepth: 1 }), { minLength: 1, maxLength: 4 }).map((list) => ({
    enum: list,
  })),
  fc.jsonValue({ maxDepth: 1 }).map((only) => ({ const: only })),
);

const { schema } = fc.letrec<{ schema: Schema }>((tie) => ({
  schema: fc.oneof(
    { maxDepth: 3, depthSize: "small" },
    number,
    string,
    value,
    fc.constantFrom<Schema>({ type: "null" }, { type: "boolean" }, { type: ["string", "null"] }),
    fc
      .record({ item: tie("schema"), more: bounds("minItems", "maxItems") })
      .map(({ item, more }): Schema => ({ type: "array", items: item, ...more })),
    fc
      .record({
        first: fc.array(tie("schema"), { minLength: 1, maxLength: 2 }),
        rest: fc.boolean(),
      })
      .map(
        ({ first, rest }): Schema => ({
          type: "array",
          prefixItems: first,
          minItems: first.length,
          items: rest ? { type: "boolean" } : false,
        }),
      ),
    fc
      .record({
        properties: fc.dictionary(name, tie("schema"), { maxKeys: 4 }),
        required: fc.boolean(),
        others: fc.constantFrom<unknown>(false, undefined, { type: "integer" }),
      })
      .map(
        ({ properties, required, others }): Schema => ({
          type: "object",
          properties,
          required: Object.keys(properties).filter((_, index) => required || index % 2 === 0),
          ...(others === undefined ? {} : { additionalProperties: others }),
        }),
      ),
    fc.array(tie("schema"), { minLength: 1, maxLength: 3 }).map((anyOf): Schema => ({ anyOf })),
  ),
}));

/** A schema that can be kept, with a place where it contains itself now and then. */
export const randomSchema: fc.Arbitrary<Schema> = fc.oneof(
  { weight: 6, arbitrary: schema },
  {
    weight: 1,
    arbitrary: schema.map((inner) => ({
      $ref: "#/$defs/node",
      $defs: {
        node: {
          type: "object",
          properties: {
            value: inner,
            next: { anyOf: [{ $ref: "#/$defs/node" }, { type: "null" }] },
            children: { type: "array", items: { $ref: "#/$defs/node" } },
          },
          required: ["value", "next"],
          additionalProperties: false,
        },
      },
    })),
  },
);
