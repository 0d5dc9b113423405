// What the bot says in, OneBot segments out. Text goes into text segments only, so no text can become a code.

export type ReplySegment =
  | { readonly type: "text"; readonly data: { readonly text: string } }
  | { readonly type: "reply"; readonly data: { readonly id: string } };

/** One message of plain text, quoting another message if its id is given. */
export function replySegments(text: string, quotedId?: string): readonly ReplySegment[] {
  const said: ReplySegment = { type: "text", data: { text } };
  if (quotedId === undefined) return [said];
  return [{ type: "reply", data: { id: quotedId } }, said];
}
