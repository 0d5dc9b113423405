// A mistake in a file as a line for the person who wrote it: what is wrong, what was expected, what may have been meant.
// In: a mistake of the schema. Out: words. No text of the file is ever shown: it may be a secret in the wrong place.

import { isSecret, type Mistake, pathOf } from "../../parse-options.ts";
import { closeName } from "./close-names.ts";

/** Keys that are no names are not repeated either. */
const NAME = /^[\w$:*.@-]{1,64}$/u;

/** One line for each thing that is wrong. */
export function describeMistake(mistake: Mistake): readonly string[] {
  const { path, keys, expected, value, unknown, isKey } = mistake;
  if (unknown !== undefined) {
    return unknown.keys.map((key) => {
      const meant = closeName(key, unknown.known);
      const hint = meant === undefined ? "" : ` Did you mean \`${meant}\`?`;
      return `${shownPath([...keys, key])} is not known.${hint} Known are ${unknown.known.join(", ")}.`;
    });
  }
  const name = path === "" ? "the file" : shownPath(keys);
  if (isKey) return [`${name} is no key that fits here: expected ${expected}.`];
  return [
    `${name}: expected ${expected}, got ${shownValue(value, path)}.${hintFor(value, expected)}`,
  ];
}

function shownPath(keys: readonly PropertyKey[]): string {
  const shown = keys.map((key) => (typeof key === "string" && !NAME.test(key) ? "…" : key));
  return `\`${pathOf(shown)}\``;
}

function shownValue(value: unknown, path: string): string {
  if (value === null) return "null";
  if (Array.isArray(value)) return `a list of ${value.length}`;
  if (typeof value === "object") return "an object";
  if (typeof value === "string") return `a text of ${value.length} characters`;
  return isSecret(path) ? `a ${typeof value}` : `${value}`;
}

function hintFor(value: unknown, expected: string): string {
  if (typeof value !== "string") return "";
  const choices = [...expected.matchAll(/"([^"]+)"/gu)].map(([, choice = ""]) => choice);
  const meant = closeName(value, choices);
  if (meant !== undefined) return ` Did you mean "${meant}"?`;
  const isNumber = /^(an integer|a number)/u.test(expected) && /^-?\d+(\.\d+)?$/u.test(value);
  const isBoolean = expected === "true or false" && /^(true|false)$/iu.test(value);
  return isNumber || isBoolean ? " Write it without quotes." : "";
}
