// A JSON schema as a grammar. Every keyword is kept, is a remark that restricts nothing, or is refused by its name:
// none is passed over. In: a schema. Out: a rule whose texts all satisfy it. It knows no tokens.
// The grammar may allow less than the schema: keys come in the order of `properties`, others only where it says so.

import { anyArray, anyObject, anyValue, listOf, objectOf, TEXT } from "./any-json.ts";
import { Effort } from "./effort.ts";
import { anyOf, inOrder, match, type Reference, type Rule, reference } from "./grammar.ts";
import {
  formedNumber,
  formedText,
  formPiece,
  key,
  oneText,
  otherKey,
  spellPlainly,
  type TextForm,
} from "./json-terminals.ts";
import { JsonText } from "./json-text.ts";
import { membersRule } from "./members.ts";
import {
  expectKnownKeywords,
  hasType,
  isSchemaObject,
  type JsonSchema,
  KEYWORDS_OF,
  listAt,
  numberAt,
  REMARKS,
  type SchemaObject,
  schemaError,
  typesOf,
} from "./schema-keywords.ts";
import { overlapping } from "./schema-overlap.ts";
import { FORMATS } from "./text-formats.ts";

/** Deeper ones are made to be deep. */
const MAX_DEPTH = 64;
const MAX_SCHEMAS = 5_000;
/** Characters of all keys and values that are named. */
const MAX_TEXT = 262_144;

/** @throws ResponseFormatError, UnsupportedPatternError, TooComplexError */
export function jsonSchemaRule(schema: JsonSchema, effort: Effort = new Effort()): Rule {
  return new SchemaReader(schema, effort).rule(schema, "schema", 0);
}

class SchemaReader {
  readonly #root: JsonSchema;
  readonly #effort: Effort;
  readonly #references = new Map<string, Reference>();
  #schemas = 0;
  #text = 0;

  constructor(root: JsonSchema, effort: Effort) {
    this.#root = root;
    this.#effort = effort;
  }

  rule(schema: unknown, path: string, depth: number): Rule {
    if (depth > MAX_DEPTH)
      throw schemaError(path, undefined, `it is nested more than ${MAX_DEPTH} deep`);
    if (++this.#schemas > MAX_SCHEMAS) {
      throw schemaError(path, undefined, `there are more than ${MAX_SCHEMAS} schemas`);
    }
    if (schema === true) return anyValue();
    if (schema === false) throw schemaError(path, undefined, "`false` allows no value");
    if (!isSchemaObject(schema))
      throw schemaError(path, undefined, "it is neither an object nor true");
    expectKnownKeywords(schema, path);
    if (schema.$ref !== undefined) return this.#reference(schema, path, depth);
    if (schema.enum !== undefined || schema.const !== undefined) return this.#values(schema, path);
    for (const name of ["anyOf", "oneOf", "allOf"] as const) {
      if (schema[name] !== undefined) return this.#combined(name, schema, path, depth);
    }
    const types = typesOf(schema, path);
    if (types.length === 0) return anyValue();
    return anyOf(...types.map((type) => this.#typed(type, schema, path, depth)));
  }

  #typed(type: string, schema: SchemaObject, path: string, depth: number): Rule {
    switch (type) {
      case "null":
        return oneText(["null"]);
      case "boolean":
        return oneText(["true", "false"]);
      case "integer":
      case "number":
        return this.#number(type, schema, path);
      case "string":
        return this.#string(schema, path);
      case "array":
        return this.#array(schema, path, depth);
      default:
        return this.#object(schema, path, depth);
    }
  }

  #reference(schema: SchemaObject, path: string, depth: number): Rule {
    this.#expectAlone("$ref", schema, path);
    const { $ref } = schema;
    if (typeof $ref !== "string" || !$ref.startsWith("#")) {
      throw schemaError(path, "$ref", "only references inside the same schema can be kept");
    }
    const known = this.#references.get($ref);
    if (known) return known;
    const made = reference();
    this.#references.set($ref, made);
    made.to = this.rule(this.#find($ref, path), $ref, depth + 1);
    return made;
  }

  #find($ref: string, path: string): unknown {
    let at: unknown = this.#root;
    for (const part of $ref.split("/").slice(1)) {
      const name = decodeURIComponent(part).replaceAll("~1", "/").replaceAll("~0", "~");
      const known: boolean = typeof at === "object" && at !== null && Object.hasOwn(at, name);
      at = known ? (at as Record<string, unknown>)[name] : undefined;
    }
    if (($ref === "#" || $ref.startsWith("#/")) && at !== undefined) return at;
    throw schemaError(path, "$ref", "there is nothing at the place it names");
  }

  #values(schema: SchemaObject, path: string): Rule {
    const name = schema.enum === undefined ? "const" : "enum";
    this.#expectAlone(name, schema, path, ["type", "const", "enum"]);
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
    return oneText(values.map((value) => this.#counted(JSON.stringify(value), path)));
  }

  #combined(
    name: "anyOf" | "oneOf" | "allOf",
    schema: SchemaObject,
    path: string,
    depth: number,
  ): Rule {
    this.#expectAlone(name, schema, path);
    const options = listAt(schema, name, path);
    if (options.length === 0) throw schemaError(path, name, "it is empty");
    if (name === "allOf" && options.length > 1) {
      throw schemaError(path, name, "several schemas at once cannot be kept");
    }
    if (name === "oneOf") {
      const clash = overlapping(options, (ref) => this.#find(ref, path));
      if (clash) {
        const [a, b] = clash;
        throw schemaError(path, name, `a value could satisfy both ${a} and ${b}`);
      }
    }
    return anyOf(
      ...options.map((option, index) => this.rule(option, `${path}/${name}/${index}`, depth + 1)),
    );
  }

  #number(type: "integer" | "number", schema: SchemaObject, path: string): Rule {
    const bound = (name: string, exclusive: boolean) => {
      const value = numberAt(schema, name, path);
      return value === undefined ? [] : [{ value, exclusive }];
    };
    const step = numberAt(schema, "multipleOf", path);
    if (step !== undefined && !(step === 1 && type === "integer")) {
      throw schemaError(path, "multipleOf", "it cannot be kept digit by digit");
    }
    const form = {
      integer: type === "integer",
      from: [...bound("minimum", false), ...bound("exclusiveMinimum", true)],
      upTo: [...bound("maximum", false), ...bound("exclusiveMaximum", true)],
    };
    return this.#possible(formedNumber(form), path, "no number lies between its bounds");
  }

  #string(schema: SchemaObject, path: string): Rule {
    const form = this.#textForm(schema, path);
    if (form.patterns.length === 0) {
      return form.minLength === 0 && form.maxLength === Number.POSITIVE_INFINITY
        ? TEXT
        : match(new JsonText(form.minLength, form.maxLength));
    }
    return this.#possible(
      formedText(form, this.#effort),
      path,
      "no string satisfies all of its keywords",
    );
  }

  #textForm(schema: SchemaObject, path: string): TextForm {
    const minLength = numberAt(schema, "minLength", path) ?? 0;
    const maxLength = numberAt(schema, "maxLength", path) ?? Number.POSITIVE_INFINITY;
    if (minLength > maxLength) throw schemaError(path, "minLength", "it is above maxLength");
    const patterns: string[] = [];
    if (schema.pattern !== undefined) patterns.push(this.#counted(String(schema.pattern), path));
    if (schema.format !== undefined) {
      const pattern = FORMATS.get(String(schema.format));
      if (pattern === undefined) {
        throw schemaError(path, "format", `known are ${[...FORMATS.keys()].join(", ")}`);
      }
      patterns.push(pattern);
    }
    return { patterns, minLength, maxLength };
  }

  #array(schema: SchemaObject, path: string, depth: number): Rule {
    if (schema.uniqueItems === true) {
      throw schemaError(path, "uniqueItems", "items cannot be compared while they are written");
    }
    const min = numberAt(schema, "minItems", path) ?? 0;
    const max = numberAt(schema, "maxItems", path) ?? Number.POSITIVE_INFINITY;
    if (min > max) throw schemaError(path, "minItems", "it is above maxItems");
    const first = schema.prefixItems === undefined ? [] : listAt(schema, "prefixItems", path);
    if (
      first.length === 0 &&
      schema.items === undefined &&
      min === 0 &&
      max === Number.POSITIVE_INFINITY
    ) {
      return anyArray();
    }
    const rules = first.map((item, index) =>
      this.rule(item, `${path}/prefixItems/${index}`, depth + 1),
    );
    const others = schema.items ?? (first.length === 0 ? true : undefined);
    const item =
      others === undefined || others === false
        ? undefined
        : this.rule(others, `${path}/items`, depth + 1);
    if (!item && min > rules.length)
      throw schemaError(path, "minItems", "there are not so many items");
    return listOf(rules, item, min, max);
  }

  #object(schema: SchemaObject, path: string, depth: number): Rule {
    const properties = new Map<string, unknown>();
    if (schema.properties !== undefined) {
      if (!isSchemaObject(schema.properties))
        throw schemaError(path, "properties", "it is no object");
      for (const [name, value] of Object.entries(schema.properties)) properties.set(name, value);
    }
    const required = new Set(schema.required === undefined ? [] : listAt(schema, "required", path));
    // Where properties are listed, they are meant to be all.
    const others = schema.additionalProperties ?? schema.properties === undefined;
    for (const name of required) {
      if (typeof name !== "string") throw schemaError(path, "required", "a name is no string");
      if (properties.has(name)) continue;
      if (others === false) {
        throw schemaError(path, "required", `\`${name}\` is not among the properties`);
      }
      properties.set(name, others);
    }
    if (properties.size === 0 && schema.propertyNames === undefined && others === true) {
      return anyObject();
    }
    const members = [...properties].map(([name, value]) => {
      this.#counted(name, path);
      const inner = this.rule(value, `${path}/properties/${name}`, depth + 1);
      return { member: inOrder(key(name), inner), required: required.has(name) };
    });
    const more = this.#otherMembers(schema, others, properties, path, depth);
    if (members.length === 0 && more) return objectOf(more.key, more.value);
    return membersRule(members, more && inOrder(more.key, more.value));
  }

  #otherMembers(
    schema: SchemaObject,
    others: unknown,
    properties: ReadonlyMap<string, unknown>,
    path: string,
    depth: number,
  ): { key: Rule; value: Rule } | undefined {
    const names = schema.propertyNames;
    if (names !== undefined && names !== true) {
      if (!isSchemaObject(names))
        throw schemaError(path, "propertyNames", "it is no schema of names");
      return this.#namedMembers(names, others, properties, path, depth);
    }
    if (others === false) return undefined;
    const value = this.rule(others, `${path}/additionalProperties`, depth + 1);
    return { key: otherKey(properties.keys(), [], this.#effort), value };
  }

  /** Names of a given form. They must be strings in any case. */
  #namedMembers(
    names: SchemaObject,
    others: unknown,
    properties: ReadonlyMap<string, unknown>,
    path: string,
    depth: number,
  ): { key: Rule; value: Rule } | undefined {
    expectKnownKeywords(names, `${path}/propertyNames`);
    const { enum: allowed, ...rest } = names;
    const list = allowed === undefined ? undefined : listAt(names, "enum", path);
    const stranger = [...properties.keys()].find((name) => list && !list.includes(name));
    const others_ = Object.keys(rest).filter((name) => !REMARKS.has(name) && name !== "type");
    if (stranger !== undefined || (list && others_.length > 0)) {
      throw schemaError(path, "propertyNames", "it cannot be kept beside these properties");
    }
    if (others === false) return undefined;
    const value = this.rule(others, `${path}/additionalProperties`, depth + 1);
    if (list) {
      const free = list.filter((name) => typeof name === "string" && !properties.has(name));
      if (free.length === 0) return undefined;
      const keys = free.map((name) => this.#counted(String(name), path));
      return { key: anyOf(...keys.map((name) => key(name))), value };
    }
    if (others_.length > 0 && properties.size > 0) {
      throw schemaError(path, "propertyNames", "it cannot be kept beside properties");
    }
    const odd = others_.find((name) => !KEYWORDS_OF.string.includes(name));
    if (odd !== undefined) throw schemaError(`${path}/propertyNames`, odd, "it is not for names");
    const form = this.#textForm(names, `${path}/propertyNames`);
    return {
      key: otherKey(properties.keys(), [formPiece(form, spellPlainly)], this.#effort),
      value,
    };
  }

  /** Beside some keywords others would have to be kept at the same time. */
  #expectAlone(
    name: string,
    schema: SchemaObject,
    path: string,
    also: readonly string[] = [],
  ): void {
    const beside = Object.keys(schema).find(
      (other) => other !== name && !REMARKS.has(other) && !also.includes(other),
    );
    if (beside !== undefined)
      throw schemaError(path, beside, `it cannot be kept beside \`${name}\``);
  }

  #possible(rule: Rule, path: string, otherwise: string): Rule {
    if (rule.kind === "match" && rule.automaton.start < 0)
      throw schemaError(path, undefined, otherwise);
    return rule;
  }

  #counted(text: string, path: string): string {
    this.#text += text.length;
    if (this.#text <= MAX_TEXT) return text;
    throw schemaError(
      path,
      undefined,
      `its keys and values are longer than ${MAX_TEXT} characters`,
    );
  }
}
