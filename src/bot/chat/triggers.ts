// Is this message for the bot? Segments alone decide: raw text can be typed by anyone, and notices never count.

import type { IncomingMessage } from "../napcat/events.ts";

/**
 * What makes the bot answer in a group.
 * - `mention`: an @ of the bot, not of everybody
 * - `quote`: a quote of one of the bot's own messages
 * - `any`: every message
 */
export type GroupTrigger = "mention" | "quote" | "any";

export interface Triggers {
  readonly group: readonly GroupTrigger[];
  /** Answer private messages, including temporary sessions. */
  readonly private: boolean;
}

/** `if-own-quoted`: only somebody who knows who wrote the quoted message can tell. */
export type TriggerDecision = "answer" | "ignore" | "if-own-quoted";

export function decideTrigger(message: IncomingMessage, triggers: Triggers): TriggerDecision {
  if (message.fromSelf) return "ignore";
  if (message.chat.kind === "private") return triggers.private ? "answer" : "ignore";
  if (triggers.group.includes("any")) return "answer";
  if (triggers.group.includes("mention") && mentions(message, message.selfId)) return "answer";
  if (triggers.group.includes("quote") && quotedId(message) !== undefined) return "if-own-quoted";
  return "ignore";
}

/** The id of the message this one quotes. */
export function quotedId(message: IncomingMessage): string | undefined {
  const reply = message.segments.find((segment) => segment.type === "reply");
  return reply?.type === "reply" ? reply.messageId : undefined;
}

function mentions(message: IncomingMessage, userId: string): boolean {
  return message.segments.some(({ type, ...segment }) => {
    return type === "at" && "target" in segment && segment.target === userId;
  });
}
