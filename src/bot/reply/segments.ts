// What the bot says in, OneBot segments out. Text goes into text segments only, so no text can become a code.

export type ReplySegment =
  | { readonly type: "text"; readonly data: { readonly text: string } }
  | { readonly type: "at"; readonly data: { readonly qq: string } }
  | { readonly type: "reply"; readonly data: { readonly id: string } };

/** Whom a message turns to. */
export interface Address {
  /** The message it quotes. */
  readonly quotedId?: string | undefined;
  /** The person it mentions. */
  readonly mentionedId?: string | undefined;
}

/** One message of plain text. */
export function replySegments(
  text: string,
  { quotedId, mentionedId }: Address = {},
): readonly ReplySegment[] {
  const said: ReplySegment[] = [];
  if (quotedId !== undefined) said.push({ type: "reply", data: { id: quotedId } });
  if (mentionedId !== undefined) said.push({ type: "at", data: { qq: mentionedId } });
  // QQ writes no space behind a mention by itself.
  said.push({ type: "text", data: { text: mentionedId === undefined ? text : ` ${text}` } });
  return said;
}
