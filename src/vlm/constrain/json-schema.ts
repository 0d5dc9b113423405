// A JSON schema as a grammar. Every keyword is kept, is a remark that restricts nothing, or is refused by its name:
// none is passed over. In: a schema. Out: a rule whose texts all satisfy it. It knows no tokens.
// The grammar may allow less than the schema: keys come in the order of `properties`, others only where it says so.

import { anyJson } from "./any-json.ts";
import { Effort } from "./effort.ts";
import { anyOf, type Reference, type Rule, reference } from "./grammar.ts";
import { oneText, word } from "./json-terminals.ts";
import { arrayRule } from "./schema-array.ts";
import {
  expectKnownKeywords,
  hasType,
  isSchemaObject,
  type JsonSchema,
  listAt,
  REMARKS,
  type SchemaObject,
  schemaError,
  typesOf,
} from "./schema-keywords.ts";
import { numberRule } from "./schema-number.ts";
import { objectRule } from "./schema-object.ts";
import { overlapping } from "./schema-overlap.ts";
import type { SchemaPlace, WholeSchema } from "./schema-place.ts";
import { textRule } from "./schema-text.ts";
import type { Steps } from "./steps.ts";

/** Deeper ones are made to be deep. */
const MAX_DEPTH = 64;
const MAX_SCHEMAS = 5_000;
/** Characters of all keys and values that are named. */
const MAX_TEXT = 262_144;

/** @throws ResponseFormatError, UnsupportedPatternError, TooComplexError */
export function jsonSchemaRule(schema: JsonSchema, effort: Effort = new Effort()): Steps<Rule> {
  return new SchemaReader(schema, effort).rule(schema, "schema", 0);
}

class SchemaReader implements WholeSchema {
  readonly effort: Effort;
  readonly texts = new Map<string, Rule>();
  firstItems: WholeSchema["firstItems"];
  readonly #root: JsonSchema;
  readonly #references = new Map<string, Reference>();
  #schemas = 0;
  #text = 0;

  constructor(root: JsonSchema, effort: Effort) {
    this.#root = root;
    this.effort = effort;
  }

  counted(text: string, path: string): string {
    this.#text += text.length;
    if (this.#text <= MAX_TEXT) return text;
    throw schemaError(
      path,
      undefined,
      `its keys and values are longer than ${MAX_TEXT} characters`,
    );
  }

  *rule(schema: unknown, path: string, depth: number): Steps<Rule> {
    if (depth > MAX_DEPTH)
      throw schemaError(path, undefined, `it is nested more than ${MAX_DEPTH} deep`);
    if (++this.#schemas > MAX_SCHEMAS) {
      throw schemaError(path, undefined, `there are more than ${MAX_SCHEMAS} schemas`);
    }
    if (this.#schemas % SCHEMAS_A_STEP === 0) yield;
    if (schema === true) return (yield* anyJson()).value;
    if (schema === false) throw schemaError(path, undefined, "`false` allows no value");
    if (!isSchemaObject(schema))
      throw schemaError(path, undefined, "it is neither an object nor true");
    expectKnownKeywords(schema, path);
    if (schema.$id !== undefined && schema !== this.#root)
      throw schemaError(path, "$id", "references inside of it would begin there");
    if (schema.$ref !== undefined) return yield* this.#reference(schema, path, depth);
    if (schema.enum !== undefined || schema.const !== undefined) {
      return yield* this.#values(schema, path);
    }
    for (const name of ["anyOf", "oneOf", "allOf"] as const) {
      if (schema[name] !== undefined) return yield* this.#combined(name, schema, path, depth);
    }
    const types = typesOf(schema, path);
    if (types.length === 0) return (yield* anyJson()).value;
    const inner = (part: unknown, name: string) => this.rule(part, `${path}/${name}`, depth + 1);
    const rules: Rule[] = [];
    for (const type of types) rules.push(yield* typed(type, { schema, path, whole: this, inner }));
    return anyOf(...rules);
  }

  *#reference(schema: SchemaObject, path: string, depth: number): Steps<Rule> {
    expectAlone("$ref", schema, path);
    const { $ref } = schema;
    if (typeof $ref !== "string" || !$ref.startsWith("#")) {
      throw schemaError(path, "$ref", "only references inside the same schema can be kept");
    }
    const known = this.#references.get($ref);
    if (known) return known;
    const made = reference();
    this.#references.set($ref, made);
    made.to = yield* this.rule(this.#find($ref, path), $ref, depth + 1);
    return made;
  }

  #find($ref: string, path: string): unknown {
    let at: unknown = this.#root;
    for (const part of decoded($ref).split("/").slice(1)) {
      const name = part.replaceAll("~1", "/").replaceAll("~0", "~");
      const known: boolean = typeof at === "object" && at !== null && Object.hasOwn(at, name);
      at = known ? (at as Record<string, unknown>)[name] : undefined;
    }
    if (($ref === "#" || $ref.startsWith("#/")) && at !== undefined) return at;
    throw schemaError(path, "$ref", "there is nothing at the place it names");
  }

  *#values(schema: SchemaObject, path: string): Steps<Rule> {
    const name = schema.enum === undefined ? "const" : "enum";
    expectAlone(name, schema, path, ["type", "const", "enum"]);
    let values = schema.enum === undefined ? [schema.const] : listAt(schema, "enum", path);
    if (schema.const !== undefined) {
      const wanted = JSON.stringify(schema.const);
      values = values.filter((value) => JSON.stringify(value) === wanted);
    }
    if (schema.type !== undefined) {
      const types = typesOf(schema, path);
      values = values.filter((value) => types.some((type) => hasType(value, type)));
    }
    if (values.length === 0) throw schemaError(path, name, "it allows no value");
    const texts: string[] = [];
    for (const value of values) {
      texts.push(this.counted(JSON.stringify(value), path));
      if (texts.length % VALUES_A_STEP === 0) yield;
    }
    return yield* oneText(texts);
  }

  *#combined(
    name: "anyOf" | "oneOf" | "allOf",
    schema: SchemaObject,
    path: string,
    depth: number,
  ): Steps<Rule> {
    expectAlone(name, schema, path);
    const options = listAt(schema, name, path);
    if (options.length === 0) throw schemaError(path, name, "it is empty");
    if (name === "allOf" && options.length > 1) {
      throw schemaError(path, name, "several schemas at once cannot be kept");
    }
    if (name === "oneOf") {
      const clash = yield* overlapping(options, (ref) => this.#find(ref, path));
      if (clash) {
        const [a, b] = clash;
        throw schemaError(path, name, `a value could satisfy both ${a} and ${b}`);
      }
    }
    const rules: Rule[] = [];
    for (const option of options) {
      rules.push(yield* this.rule(option, `${path}/${name}/${rules.length}`, depth + 1));
    }
    return anyOf(...rules);
  }
}

const SCHEMAS_A_STEP = 16;
const VALUES_A_STEP = 256;

function* typed(type: string, place: SchemaPlace): Steps<Rule> {
  switch (type) {
    case "null":
      return word("null");
    case "boolean":
      return word("true", "false");
    case "integer":
    case "number":
      return yield* numberRule(type, place);
    case "string":
      return yield* textRule(place);
    case "array":
      return yield* arrayRule(place);
    default:
      return yield* objectRule(place);
  }
}

/** A reference is written as a part of an address. */
function decoded($ref: string): string {
  try {
    return decodeURIComponent($ref);
  } catch {
    return $ref;
  }
}

/** Beside some keywords others would have to be kept at the same time. */
function expectAlone(
  name: string,
  schema: SchemaObject,
  path: string,
  also: readonly string[] = [],
): void {
  const beside = Object.keys(schema).find(
    (other) => other !== name && !REMARKS.has(other) && !also.includes(other),
  );
  if (beside !== undefined) throw schemaError(path, beside, `it cannot be kept beside \`${name}\``);
}
