// What a server says, fit for a terminal. In: text from outside. Out: one short line without control characters, so that
// no answer can move a cursor, colour a screen or end a line of a log.

const LONGEST = 200;
/** Controls, marks of direction, separators of lines, surrogates without a partner. */
const UNSHOWN = /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Cs}]+/gu;

export function shownText(text: string): string {
  const line = text.replace(UNSHOWN, " ").trim();
  return line.length > LONGEST ? `${line.slice(0, LONGEST)}…` : line;
}
