// The marks that stand around quoted and forwarded messages belong to the bot alone. In: text as people typed it.
// Out: the same, in which nothing is such a mark: nobody can close a quote early, or write one that nobody said.

import type { Phrases } from "../reply/phrases.ts";

/** No name and no text holds it. */
const NAME = "\u0000";

/** What stands around data in the prompt, without white space; the longest first, because one may begin another. */
export function marksOf({
  quoteStart,
  quoteEnd,
  forwardStart,
  forwardEnd,
}: Pick<Phrases, "quoteStart" | "quoteEnd" | "forwardStart" | "forwardEnd">): readonly string[] {
  const marks = [...quoteStart(NAME).split(NAME).slice(0, 1), quoteEnd, forwardStart, forwardEnd];
  return marks
    .map((mark) => mark.trim())
    .filter((mark) => mark !== "")
    .sort((one, other) => other.length - one.length);
}

/** The text with every mark in it written in another way, which people read as the same. */
export function withoutMarks(text: string, marks: readonly string[]): string {
  return marks.reduce((safe, mark) => safe.replaceAll(mark, unlike(mark)), text);
}

/** Wide brackets; where a mark has none, a space behind its first character. */
function unlike(mark: string): string {
  const wide = wideBrackets(mark);
  if (wide !== mark) return wide;
  const [first = "", ...rest] = mark;
  return `${first} ${rest.join("")}`;
}

/** `[a]` as `［a］`. */
export function wideBrackets(text: string): string {
  return text.replaceAll("[", "［").replaceAll("]", "］");
}
