// Fires when one of the regular expressions finds something in the text. They are RE2's: the time they take grows with
// the text and no faster, so that no pattern and no message can stop the bot. Look-around and back-references are none.

import { LRUCache } from "lru-cache";
import { RE2JS } from "re2js";
import { type Trigger, typedText } from "./trigger.ts";

const MAX_COMPILED = 1000;
/** Linear is not free, and nobody calls a bot with a longer text. */
const MAX_CHARACTERS = 6000;

const compiled = new LRUCache<string, RE2JS>({ max: MAX_COMPILED });

export const regex: Trigger = {
  fires: (message, { triggers: { patterns } }) => {
    if (patterns.length === 0) return false;
    const text = typedText(message);
    if (text.length > MAX_CHARACTERS) return false;
    return patterns.some((pattern) => compile(pattern).matcher(text).find());
  },
};

/** Is this an expression RE2 takes? */
export function isPattern(pattern: unknown): boolean {
  if (typeof pattern !== "string" || pattern === "") return false;
  try {
    compile(pattern);
    return true;
  } catch {
    return false;
  }
}

function compile(pattern: string): RE2JS {
  const known = compiled.get(pattern);
  if (known !== undefined) return known;
  const expression = RE2JS.compile(pattern, RE2JS.CASE_INSENSITIVE);
  compiled.set(pattern, expression);
  return expression;
}
