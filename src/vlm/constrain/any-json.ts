// Any value of JSON at all, as a grammar that contains itself.

import { anyOf, inOrder, match, type Reference, type Rule, reference, times } from "./grammar.ts";
import { anyNumber, oneText, otherKey, punctuation, space } from "./json-terminals.ts";
import { JsonText } from "./json-text.ts";

export const TEXT: Rule = match(new JsonText());

let made: { readonly value: Reference; readonly object: Rule; readonly array: Rule } | undefined;

function make(): NonNullable<typeof made> {
  const value = reference();
  const object = objectOf(otherKey([]), value);
  const array = arrayOf(value);
  value.to = anyOf(object, array, TEXT, anyNumber(), oneText(["true", "false", "null"]));
  return { value, object, array };
}

export function anyValue(): Rule {
  made ??= make();
  return made.value;
}

export function anyObject(): Rule {
  made ??= make();
  return made.object;
}

export function anyArray(): Rule {
  made ??= make();
  return made.array;
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
