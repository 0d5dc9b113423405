// Text from outside in, text that may be written to a log out: one line, short, without URLs, keys and base64.
// It is the last guard, not the only one: nothing secret is meant to reach it.

const MAX_LENGTH = 200;

/** Makes text that somebody else wrote (an answer of NapCat, a system error) fit for a log. */
export function redact(text: string): string {
  const oneLine = text
    .slice(0, 4000)
    .replace(/\b[a-z][a-z0-9+.-]*:\/\/[^\s"'<>]+/giu, "<url>")
    .replace(/\b(access_token|token|rkey|key|authorization)\b["']?\s*[=:]\s*\S+/giu, "$1=<hidden>")
    .replace(/[A-Za-z0-9+/_-]{48,}={0,2}/gu, "<data>")
    .replace(/\s+/gu, " ")
    .trim();
  return oneLine.length <= MAX_LENGTH ? oneLine : `${oneLine.slice(0, MAX_LENGTH)}…`;
}
