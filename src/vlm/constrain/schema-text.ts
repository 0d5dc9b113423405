// Strings of a JSON schema as grammars. In: a schema. Out: a rule whose texts are strings of JSON that satisfy it.

import { TEXT } from "./any-json.ts";
import { match, type Rule } from "./grammar.ts";
import { formedText, type TextForm } from "./json-terminals.ts";
import { JsonText } from "./json-text.ts";
import { expectPossible, numberAt, type SchemaObject, schemaError } from "./schema-keywords.ts";
import type { SchemaPlace, WholeSchema } from "./schema-place.ts";
import type { Steps } from "./steps.ts";
import { FORMATS } from "./text-formats.ts";

/** @throws ResponseFormatError, UnsupportedPatternError, TooComplexError */
export function* textRule({ schema, path, whole }: SchemaPlace): Steps<Rule> {
  const form = textForm(schema, path, whole);
  const { patterns, minLength, maxLength } = form;
  if (patterns.length === 0) {
    const free = minLength === 0 && maxLength === Number.POSITIVE_INFINITY;
    return free ? TEXT : match(new JsonText(minLength, maxLength));
  }
  const name = JSON.stringify([patterns, minLength, maxLength]);
  const known = whole.texts.get(name);
  const rule = known ?? (yield* formedText(form, whole.effort));
  whole.texts.set(name, rule);
  return expectPossible(rule, path, "no string satisfies all of its keywords");
}

/** What the keywords of a string say. @throws ResponseFormatError */
export function textForm(schema: SchemaObject, path: string, whole: WholeSchema): TextForm {
  const minLength = numberAt(schema, "minLength", path) ?? 0;
  const maxLength = numberAt(schema, "maxLength", path) ?? Number.POSITIVE_INFINITY;
  if (minLength > maxLength) throw schemaError(path, "minLength", "it is above maxLength");
  const patterns: string[] = [];
  if (schema.pattern !== undefined) {
    if (typeof schema.pattern !== "string") throw schemaError(path, "pattern", "it is no string");
    patterns.push(whole.counted(schema.pattern, path));
  }
  if (schema.format !== undefined) {
    const pattern = FORMATS.get(String(schema.format));
    if (pattern === undefined) {
      throw schemaError(path, "format", `known are ${[...FORMATS.keys()].join(", ")}`);
    }
    patterns.push(pattern);
  }
  return { patterns, minLength, maxLength };
}
