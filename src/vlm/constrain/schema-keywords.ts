// The keywords of JSON schema that can be kept, those that restrict nothing, and the refusal of all others by name.

import { ResponseFormatError } from "../errors.ts";
import type { Rule } from "./grammar.ts";

export type SchemaObject = Readonly<Record<string, unknown>>;
export type JsonSchema = boolean | SchemaObject;

/** They say something to people, or hold schemas for others to refer to. */
export const REMARKS: ReadonlySet<string> = new Set([
  "$schema",
  "$id",
  "id",
  "$comment",
  "$defs",
  "definitions",
  "title",
  "description",
  "default",
  "examples",
  "deprecated",
  "readOnly",
  "writeOnly",
]);

/** What restricts values of one type, and says nothing of others. */
export const KEYWORDS_OF = {
  object: ["properties", "required", "additionalProperties", "propertyNames"],
  array: ["items", "prefixItems", "additionalItems", "minItems", "maxItems", "uniqueItems"],
  string: ["minLength", "maxLength", "pattern", "format"],
  number: ["minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"],
} as const satisfies Record<string, readonly string[]> as Readonly<
  Record<"object" | "array" | "string" | "number", readonly string[]>
>;

/** All that can be kept, some of them not with every value. */
export const SCHEMA_KEYWORDS: readonly string[] = [
  ...["type", "enum", "const", "anyOf", "oneOf", "allOf", "$ref"],
  ...Object.values(KEYWORDS_OF).flat(),
];

const KNOWN: ReadonlySet<string> = new Set([...REMARKS, ...SCHEMA_KEYWORDS]);

const TYPES = ["object", "array", "string", "number", "integer", "boolean", "null"];

/** @throws ResponseFormatError that names the first keyword that is not known */
export function expectKnownKeywords(schema: SchemaObject, path: string): void {
  for (const name of Object.keys(schema)) {
    if (!KNOWN.has(name) && schema[name] !== undefined) {
      throw schemaError(path, name, "it cannot be kept while an answer is written");
    }
  }
}

/** The types of a schema; without `type`, those that its keywords speak of; none where it speaks of none. */
export function typesOf(schema: SchemaObject, path: string): string[] {
  if (schema.type === undefined) {
    return Object.entries(KEYWORDS_OF).flatMap(([type, names]) =>
      names.some((name) => schema[name] !== undefined) ? [type] : [],
    );
  }
  const types = [schema.type].flat();
  const odd = types.find((type) => typeof type !== "string" || !TYPES.includes(type));
  if (odd !== undefined || types.length === 0)
    throw schemaError(path, "type", `known are ${TYPES.join(", ")}`);
  const unique = [...new Set(types as string[])];
  // Every integer is a number.
  return unique.filter((type) => type !== "integer" || !unique.includes("number"));
}

export function listAt(schema: SchemaObject, name: string, path: string): readonly unknown[] {
  const value = schema[name];
  if (Array.isArray(value)) return value;
  throw schemaError(path, name, "it is no list");
}

export function numberAt(schema: SchemaObject, name: string, path: string): number | undefined {
  const value = schema[name];
  if (value === undefined) return undefined;
  const counts = /^(min|max)(Length|Items)$/u.test(name);
  const right = counts
    ? Number.isSafeInteger(value) && (value as number) >= 0
    : Number.isFinite(value);
  if (right) return value as number;
  throw schemaError(path, name, counts ? "it is no number of things" : "it is no number");
}

export function isSchemaObject(value: unknown): value is SchemaObject {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** @param keyword what cannot be kept, or undefined for the schema as a whole */
export function schemaError(
  path: string,
  keyword: string | undefined,
  why: string,
): ResponseFormatError {
  const what = keyword === undefined ? "The schema" : `\`${keyword}\``;
  return new ResponseFormatError("response-format-unsupported", `${what} at ${path}: ${why}.`, {
    path,
    keyword,
  });
}

/** @throws ResponseFormatError where no text satisfies a rule */
export function expectPossible(rule: Rule, path: string, otherwise: string): Rule {
  if (rule.kind === "match" && rule.automaton.start < 0)
    throw schemaError(path, undefined, otherwise);
  return rule;
}

/** Is a value of this type, as a schema calls it? */
export function hasType(value: unknown, type: string): boolean {
  switch (type) {
    case "null":
      return value === null;
    case "array":
      return Array.isArray(value);
    case "integer":
      return Number.isInteger(value);
    case "object":
      return typeof value === "object" && value !== null && !Array.isArray(value);
    default:
      return typeof value === type;
  }
}
