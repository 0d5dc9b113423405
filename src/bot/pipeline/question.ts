// What goes from stage to stage once it is known that somebody asks the bot: types only.

import type { IncomingMessage } from "../napcat/events.ts";
import type { TriggerName } from "../triggers/triggers.ts";

/** What one person wants to know: one message, or several that follow one another. */
export interface Question {
  /** Oldest first; never of two people, never of two chats. */
  readonly pieces: readonly [IncomingMessage, ...IncomingMessage[]];
  readonly trigger: TriggerName;
}
