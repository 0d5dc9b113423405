// Which conversation a message belongs to. Everything kept per chat is kept under chatKey().
// It knows nothing of messages or of people.

/** One conversation: a group, or one person in private. */
export interface ChatId {
  readonly kind: "group" | "private";
  /** Group number, or the QQ number of the person. */
  readonly id: string;
}

/** A string that is the same for the same chat and different for different ones. */
export function chatKey(chat: ChatId): string {
  return `${chat.kind}:${chat.id}`;
}
