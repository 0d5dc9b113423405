// What a command is: something a person types that is answered without the model, also while it is busy.
// A new command is a new file beside this one. It knows nothing of how commands are found.

import type { Responder } from "../chat/responder.ts";
import type { IncomingMessage } from "../napcat/events.ts";
import type { Cancellation } from "../pipeline/cancellation.ts";
import type { RunningTurns } from "../pipeline/running-turns.ts";

/** What a command can use. */
export interface CommandContext {
  readonly message: IncomingMessage;
  /** What was typed behind the name. */
  readonly argument: string;
  readonly responder: Responder;
  readonly turns: RunningTurns;
  readonly cancellation: Cancellation;
}

/** One command. */
export interface Command {
  /** Names people type behind the prefix; the first is shown in lists. */
  readonly names: readonly string[];
  /** Does it, and returns what to say about it; `undefined` for nothing. */
  run(context: CommandContext): string | undefined | Promise<string | undefined>;
}
