// Who somebody is to the bot: one of the people who run it, an administrator of the group, or anybody.
// In: a message. Out: a rank. A group message without a role comes from an ordinary member.

import type { IncomingMessage } from "./napcat/events.ts";

/** From least to most. */
export const RANKS = ["everybody", "group-admin", "admin"] as const;

/**
 * - `everybody`: whoever may talk to the bot
 * - `group-admin`: owner and administrators of the group, and in private whoever writes; `admin` as well
 * - `admin`: the people named in the option `admins`
 */
export type Rank = (typeof RANKS)[number];

export function rankOf(message: IncomingMessage, admins: readonly string[]): Rank {
  if (admins.includes(message.sender.id)) return "admin";
  // A private chat belongs to the person in it.
  if (message.chat.kind === "private") return "group-admin";
  return message.senderRole === undefined ? "everybody" : "group-admin";
}

/** May somebody of this rank do what takes the other one? */
export function reaches(rank: Rank, needed: Rank): boolean {
  return RANKS.indexOf(rank) >= RANKS.indexOf(needed);
}
