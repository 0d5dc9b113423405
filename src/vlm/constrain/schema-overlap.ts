// May one value satisfy two schemas? `oneOf` can be kept where that is impossible for a reason that can be seen: other
// types, other values, or objects that a key with a value of its own tells apart. In: schemas. Out: two that may overlap.

import { isSchemaObject, type SchemaObject } from "./schema-keywords.ts";
import type { Steps } from "./steps.ts";

type Find = (ref: string) => unknown;

const PAIRS_A_STEP = 64;

/** Indices of the first two that cannot be told apart. */
export function* overlapping(
  schemas: readonly unknown[],
  find: Find,
): Steps<[number, number] | undefined> {
  const found = schemas.map((schema) => resolved(schema, find));
  for (const [a, one] of found.entries()) {
    for (let b = a + 1; b < found.length; b++) {
      if (!disjoint(one, found[b], find)) return [a, b];
      if (b % PAIRS_A_STEP === 0) yield;
    }
  }
  return undefined;
}

function resolved(schema: unknown, find: Find): SchemaObject | undefined {
  let at = schema;
  for (let steps = 0; steps < 16 && isSchemaObject(at) && typeof at.$ref === "string"; steps++) {
    at = find(at.$ref);
  }
  return isSchemaObject(at) ? at : undefined;
}

function disjoint(
  one: SchemaObject | undefined,
  other: SchemaObject | undefined,
  find: Find,
): boolean {
  if (!one || !other) return false;
  const [values, others] = [valuesOf(one), valuesOf(other)];
  if (values && others) return values.every((value) => !others.includes(value));
  const [types, otherTypes] = [kindsOf(one), kindsOf(other)];
  if (types && otherTypes && types.every((type) => !otherTypes.includes(type))) return true;
  const onlyObjects = [types, otherTypes].every((kinds) => kinds?.join() === "object");
  if (!onlyObjects || !isSchemaObject(one.properties) || !isSchemaObject(other.properties))
    return false;
  const [mine, theirs] = [one.properties, other.properties];
  const required = (schema: SchemaObject, name: string) =>
    Array.isArray(schema.required) && schema.required.includes(name);
  return Object.keys(mine).some((name) => {
    if (!required(one, name) || !required(other, name)) return false;
    const [a, b] = [resolved(mine[name], find), resolved(theirs[name], find)];
    const [left, right] = [a && valuesOf(a), b && valuesOf(b)];
    return left && right ? left.every((value) => !right.includes(value)) : false;
  });
}

/** Each as JSON. */
function valuesOf(schema: SchemaObject): string[] | undefined {
  if (schema.const !== undefined) return [JSON.stringify(schema.const)];
  return Array.isArray(schema.enum) ? schema.enum.map((value) => JSON.stringify(value)) : undefined;
}

/** Types, of which integers are numbers. */
function kindsOf(schema: SchemaObject): string[] | undefined {
  const values = valuesOf(schema);
  if (values) return [...new Set(values.map((value) => kindOf(JSON.parse(value))))];
  if (schema.type !== undefined) {
    return [schema.type].flat().map((type) => (type === "integer" ? "number" : String(type)));
  }
  // Without a type, any other value would satisfy it as well.
  return undefined;
}

function kindOf(value: unknown): string {
  if (value === null) return "null";
  return Array.isArray(value) ? "array" : typeof value;
}
