// Whose past a question belongs to: that of its chat, of one person in it, or of one person everywhere.
// In: a chat, a person and how pasts are kept apart. Out: the key of a past. It knows nothing of what is kept.

import { type ChatId, chatKey } from "./chat-id.ts";

/**
 * Who shares a past.
 * - `chat`: everybody in a group, with their names
 * - `person-in-chat`: each person has one of their own in every group
 * - `person`: each person has one, the same in all groups and in private
 */
export type Isolation = "chat" | "person-in-chat" | "person";

export const ISOLATIONS = [
  "chat",
  "person-in-chat",
  "person",
] as const satisfies readonly Isolation[];

/** Differs for each way of keeping pasts apart: changing the way and back loses none of them. */
export function historyKey(chat: ChatId, senderId: string, isolation: Isolation): string {
  if (isolation === "person") return `person:${senderId}`;
  // In private there is one person.
  if (isolation === "chat" || chat.kind === "private") return chatKey(chat);
  return `${chatKey(chat)}/${senderId}`;
}
