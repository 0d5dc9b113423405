// Arrays of a JSON schema as grammars. In: a schema. Out: a rule whose texts are arrays that satisfy it.

import { anyJson, listOf } from "./any-json.ts";
import type { Rule } from "./grammar.ts";
import { listAt, numberAt, type SchemaObject, schemaError } from "./schema-keywords.ts";
import type { SchemaPlace, WholeSchema } from "./schema-place.ts";
import type { Steps } from "./steps.ts";

/** @throws ResponseFormatError, UnsupportedPatternError, TooComplexError */
export function* arrayRule({ schema, path, whole, inner }: SchemaPlace): Steps<Rule> {
  if (schema.uniqueItems !== undefined && schema.uniqueItems !== false) {
    throw schemaError(path, "uniqueItems", "items cannot be compared while they are written");
  }
  const min = numberAt(schema, "minItems", path) ?? 0;
  const max = numberAt(schema, "maxItems", path) ?? Number.POSITIVE_INFINITY;
  if (min > max) throw schemaError(path, "minItems", "it is above maxItems");
  const { name, first, others } = itemsOf(schema, path);
  if (name !== undefined && (whole.firstItems ?? name) !== name)
    throw schemaError(
      path,
      name,
      `elsewhere \`${whole.firstItems}\` lists items: these are two drafts`,
    );
  whole.firstItems ??= name;
  const free = first.length === 0 && (others === undefined || others === true);
  if (free && min === 0 && max === Number.POSITIVE_INFINITY) return (yield* anyJson()).array;
  const rules: Rule[] = [];
  for (const item of first) rules.push(yield* inner(item, `${name}/${rules.length}`));
  // Where the first ones are listed, they are meant to be all.
  const rest = others ?? first.length === 0;
  const item = rest === false ? undefined : yield* inner(rest, "items");
  if (!item && min > rules.length)
    throw schemaError(path, "minItems", "there are not so many items");
  return listOf(rules, item, min, max);
}

interface Items {
  /** The keyword that lists the first ones. */
  readonly name: WholeSchema["firstItems"];
  readonly first: readonly unknown[];
  readonly others: unknown;
}

/** Draft 7 lists the first items in `items` itself. */
function itemsOf(schema: SchemaObject, path: string): Items {
  if (!Array.isArray(schema.items)) {
    if (schema.additionalItems !== undefined)
      throw schemaError(path, "additionalItems", "it stands only beside a list of items");
    const listed = schema.prefixItems !== undefined;
    const first = listed ? listAt(schema, "prefixItems", path) : [];
    return { name: listed ? "prefixItems" : undefined, first, others: schema.items };
  }
  if (schema.prefixItems !== undefined)
    throw schemaError(path, "prefixItems", "`items` is a list already");
  return { name: "items", first: schema.items, others: schema.additionalItems };
}
