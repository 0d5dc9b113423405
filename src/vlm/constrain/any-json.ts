// Any value of JSON at all, as a grammar that contains itself.

import { anyOf, inOrder, match, type Reference, type Rule, reference, times } from "./grammar.ts";
import { anyNumber, otherKey, punctuation, space, word } from "./json-terminals.ts";
import { JsonText } from "./json-text.ts";
import type { Steps } from "./steps.ts";

export const TEXT: Rule = match(new JsonText());

interface AnyJson {
  readonly value: Reference;
  readonly object: Rule;
  readonly array: Rule;
}

let made: AnyJson | undefined;

/** One for all grammars. */
export function* anyJson(): Steps<AnyJson> {
  made ??= yield* make();
  return made;
}

function* make(): Steps<AnyJson> {
  const value = reference();
  const object = objectOf(yield* otherKey([]), value);
  const array = arrayOf(value);
  value.to = anyOf(object, array, TEXT, anyNumber(), word("true", "false", "null"));
  return { value, object, array };
}

/** Any number of members, all of one kind. */
export function objectOf(key: Rule, value: Rule): Rule {
  const more = times(inOrder(punctuation(","), key, value), 0, Number.POSITIVE_INFINITY);
  return inOrder(
    punctuation("{"),
    anyOf(punctuation("}"), inOrder(space(), key, value, more, punctuation("}"))),
  );
}

/** Items of one kind; `max` may be Infinity. */
function arrayOf(item: Rule, min = 0, max = Number.POSITIVE_INFINITY): Rule {
  return listOf([], item, min, max);
}

/** First some items of their own kinds, then others; `min` counts all of them, `max` too. */
export function listOf(
  first: readonly Rule[],
  item: Rule | undefined,
  min: number,
  max: number,
): Rule {
  const end = punctuation("]");
  const comma = punctuation(",");
  const rest = (at: number): Rule => {
    if (at >= max) return end;
    const next = first[at] ?? item;
    if (!next) return end;
    const lead = at === 0 ? space() : comma;
    if (at >= first.length) {
      const [least, most] = [Math.max(0, min - at), max - at];
      if (at > 0) return inOrder(times(inOrder(comma, next), least, most), end);
      const others = times(inOrder(comma, next), Math.max(0, least - 1), most - 1);
      const some = inOrder(lead, next, others, end);
      return least === 0 ? anyOf(end, some) : some;
    }
    const some = inOrder(lead, next, rest(at + 1));
    return at >= min ? anyOf(end, some) : some;
  };
  return inOrder(punctuation("["), rest(0));
}
