// What every trigger is: a message in, "this one is for the bot" out. Segments alone decide: raw text can be typed by
// anyone, and notices never count. A new trigger is a new file beside this one and a line in `group-triggers.ts`.

import type { IncomingMessage } from "../napcat/events.ts";

/** What a trigger may ask beyond the message itself. */
export interface TriggerContext {
  /** Is the quoted message one of the bot's own? Looks it up at most once. */
  readonly quotesBot: () => Promise<boolean>;
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
