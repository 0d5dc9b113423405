// Names as people typed them in, names that are safe to put in front of a text out.
// A name is data: it may not break a line, imitate another speaker or fill the prompt.

import { wideBrackets } from "./marks.ts";

/** Longest name the model sees, in characters; QQ itself allows about this much. */
export const MAX_NAME_CHARACTERS = 24;

// Zero-width and bidirectional marks, lone surrogates, characters without a meaning.
const INVISIBLE = /[\p{Cf}\p{Cs}\p{Co}\p{Cn}]+/gu;
// A colon would end the name early: "张三：你好" as a name looks like somebody else speaking.
const SEPARATORS = /[:：﹕︓\s\p{Cc}]+/gu;

/** A name on one line, with wide brackets, without colons and invisible characters, at most {@link MAX_NAME_CHARACTERS} long. */
export function cleanName(name: string, fallback: string): string {
  const visible = wideBrackets(name.replace(INVISIBLE, "").replace(SEPARATORS, " ").trim());
  const characters = [...new Intl.Segmenter().segment(visible)].map(({ segment }) => segment);
  // A "character" of the segmenter may be an endless pile of accents: cap both.
  const short = characters.slice(0, MAX_NAME_CHARACTERS).join("");
  const bounded = [...short]
    .slice(0, 2 * MAX_NAME_CHARACTERS)
    .join("")
    .trim();
  return bounded === "" ? fallback : bounded;
}
