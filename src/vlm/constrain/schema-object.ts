// Objects of a JSON schema as grammars. In: a schema. Out: a rule whose texts are objects that satisfy it: keys come in
// the order of `properties`, others only where the schema says so.

import { anyJson, objectOf } from "./any-json.ts";
import { anyOf, inOrder, type Rule } from "./grammar.ts";
import { formPiece, key, otherKey, spellPlainly } from "./json-terminals.ts";
import { type Member, membersRule } from "./members.ts";
import {
  expectKnownKeywords,
  isSchemaObject,
  KEYWORDS_OF,
  listAt,
  REMARKS,
  type SchemaObject,
  schemaError,
  typesOf,
} from "./schema-keywords.ts";
import type { SchemaPlace } from "./schema-place.ts";
import { textForm } from "./schema-text.ts";
import type { Steps } from "./steps.ts";

type Properties = ReadonlyMap<string, unknown>;

interface OtherMembers {
  readonly key: Rule;
  readonly value: Rule;
}

/** @throws ResponseFormatError, UnsupportedPatternError, TooComplexError */
export function* objectRule(place: SchemaPlace): Steps<Rule> {
  const { schema, path, whole, inner } = place;
  // Where properties are listed, they are meant to be all.
  const others = schema.additionalProperties ?? schema.properties === undefined;
  const required = new Set(schema.required === undefined ? [] : listAt(schema, "required", path));
  const properties = propertiesOf(place, required, others);
  if (properties.size === 0 && schema.propertyNames === undefined && others === true) {
    return (yield* anyJson()).object;
  }
  const members: Member[] = [];
  for (const [name, value] of properties) {
    whole.counted(name, path);
    const value_ = yield* inner(value, `properties/${name}`);
    members.push({ member: inOrder(yield* key(name), value_), required: required.has(name) });
  }
  const more = yield* otherMembers(place, others, properties);
  if (members.length === 0 && more) return objectOf(more.key, more.value);
  return membersRule(members, more && inOrder(more.key, more.value));
}

/** Those that are listed, and those that are asked for without being listed. */
function propertiesOf(
  { schema, path }: SchemaPlace,
  required: ReadonlySet<unknown>,
  others: unknown,
): Properties {
  const properties = new Map<string, unknown>();
  if (schema.properties !== undefined) {
    if (!isSchemaObject(schema.properties))
      throw schemaError(path, "properties", "it is no object");
    for (const [name, value] of Object.entries(schema.properties)) properties.set(name, value);
  }
  for (const name of required) {
    if (typeof name !== "string") throw schemaError(path, "required", "a name is no string");
    if (properties.has(name)) continue;
    if (others === false) {
      throw schemaError(path, "required", `\`${name}\` is not among the properties`);
    }
    properties.set(name, others);
  }
  return properties;
}

function* otherMembers(
  place: SchemaPlace,
  others: unknown,
  properties: Properties,
): Steps<OtherMembers | undefined> {
  const { schema, path, whole, inner } = place;
  const names = schema.propertyNames;
  if (names !== undefined && names !== true) {
    if (!isSchemaObject(names))
      throw schemaError(path, "propertyNames", "it is no schema of names");
    return yield* namedMembers(place, names, others, properties);
  }
  if (others === false) return undefined;
  const value = yield* inner(others, "additionalProperties");
  return { key: yield* otherKey(properties.keys(), [], whole.effort), value };
}

/** Names of a given form. They must be strings in any case. */
function* namedMembers(
  { path, whole, inner }: SchemaPlace,
  names: SchemaObject,
  others: unknown,
  properties: Properties,
): Steps<OtherMembers | undefined> {
  const namesPath = `${path}/propertyNames`;
  expectKnownKeywords(names, namesPath);
  if (names.type !== undefined && !typesOf(names, namesPath).includes("string"))
    throw schemaError(namesPath, "type", "names are strings");
  const { enum: allowed, ...rest } = names;
  const list = allowed === undefined ? undefined : listAt(names, "enum", path);
  const also = Object.keys(rest).filter((name) => !REMARKS.has(name) && name !== "type");
  const odd = also.find((name) => !KEYWORDS_OF.string.includes(name));
  if (odd !== undefined) throw schemaError(namesPath, odd, "it is not for names");
  const stranger = [...properties.keys()].find((name) => list && !list.includes(name));
  if (stranger !== undefined || (also.length > 0 && (list || properties.size > 0))) {
    throw schemaError(path, "propertyNames", "it cannot be kept beside these properties");
  }
  if (others === false) return undefined;
  const value = yield* inner(others, "additionalProperties");
  if (list) {
    const free = list.filter((name) => typeof name === "string" && !properties.has(name));
    if (free.length === 0) return undefined;
    const keys: Rule[] = [];
    for (const name of free) keys.push(yield* key(whole.counted(String(name), path)));
    return { key: anyOf(...keys), value };
  }
  const form = textForm(names, namesPath, whole);
  const piece = yield* formPiece(form, spellPlainly);
  return { key: yield* otherKey(properties.keys(), [piece], whole.effort), value };
}
