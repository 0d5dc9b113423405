// A mistake in a file as a line for the person who wrote it: what is wrong, what was expected, what may have been meant.
// In: a mistake of the schema. Out: words. No text of the file is ever shown: it may be a secret in the wrong place.

import { isSecret, type Mistake, pathOf } from "../../parse-options.ts";
import { closeName } from "./close-names.ts";
import type { Problem } from "./config-text.ts";

/** Keys that are no names are not repeated either. */
const NAME = /^[\w$:*.@-]{1,64}$/u;

/** One for each thing that is wrong; where in the file it stands is not known here. */
export function describeMistake(mistake: Mistake): readonly Omit<Problem, "place">[] {
  const { path, keys, expected, value, unknown, isKey } = mistake;
  if (unknown !== undefined) {
    return unknown.keys.map((key) => {
      const meant = closeName(key, unknown.known);
      const hint = meant === undefined ? "" : ` Did you mean \`${meant}\`?`;
      return { text: `${shownPath([...keys, key])} is not known.${hint}`, known: unknown.known };
    });
  }
  const name = path === "" ? "the file" : shownPath(keys);
  const text = isKey
    ? `${name} is no key that fits here: expected ${expected}.`
    : `${name}: expected ${expected}, got ${shownValue(value, path)}.${hintFor(value, expected)}`;
  return [{ text }];
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
