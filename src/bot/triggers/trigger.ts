// What every trigger is: a message in, "this one is for the bot" out. Segments alone decide: raw text can be typed by
// anyone. A new trigger is a new file beside this one and a line in `triggers.ts`.

import type { IncomingMessage } from "../napcat/events.ts";
import type { Triggers } from "./triggers.ts";

/** What a trigger may ask beyond the message itself. */
export interface TriggerContext {
  /** The settings of this chat. */
  readonly triggers: Triggers;
  /** Is the quoted message one of the bot's own? Looks it up at most once. */
  readonly quotesBot: () => Promise<boolean>;
  /** From 0 to 1, what the model thinks of answering this; 0 when it may not be asked now. */
  readonly wantsAnswer: () => Promise<number>;
  /** From 0 up to 1, at random. */
  readonly random: () => number;
}

/** Says whether a message is for the bot. */
export interface Trigger {
  /** A promise only where the answer has to be looked up; those are asked last. */
  fires(message: IncomingMessage, context: TriggerContext): boolean | Promise<boolean>;
}

/** The id of the message this one quotes. */
export function quotedId(message: IncomingMessage): string | undefined {
  const reply = message.segments.find((segment) => segment.type === "reply");
  return reply?.type === "reply" ? reply.messageId : undefined;
}

/** What was typed, without what is no text. */
export function typedText(message: IncomingMessage): string {
  return message.segments
    .map((segment) => (segment.type === "text" ? segment.text : ""))
    .join("")
    .trim();
}
