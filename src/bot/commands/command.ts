// What a command is: something a person types that is answered without the model, also while it is busy.
// A new command is a new file beside this one. It knows nothing of how commands are found.

import type { AwaitedPictures } from "../chat/awaited-pictures.ts";
import type { ChatSwitches } from "../chat/chat-switches.ts";
import type { RecentPictures } from "../chat/recent-pictures.ts";
import type { Responder } from "../chat/responder.ts";
import type { Breaker } from "../gates/breaker.ts";
import type { IncomingMessage } from "../napcat/events.ts";
import type { Cancellation } from "../pipeline/cancellation.ts";
import type { RunningTurns } from "../pipeline/running-turns.ts";
import type { Rank } from "../rank.ts";
import type { Phrases } from "../reply/phrases.ts";
import type { AskedQuestion, AskedQuestions } from "./asked-questions.ts";
import type { TurnCounts } from "./turn-counts.ts";

/** What every command of a bot can use. */
export interface CommandTools {
  readonly responder: Responder;
  readonly turns: RunningTurns;
  readonly cancellation: Cancellation;
  readonly switches: ChatSwitches;
  readonly breaker: Breaker;
  readonly questions: AskedQuestions;
  readonly recent: RecentPictures;
  readonly awaited: AwaitedPictures;
  /** Is this chat served at all, as lists and commands say? */
  readonly isServed: (message: IncomingMessage) => boolean;
  readonly counts: TurnCounts;
  readonly phrases: Phrases;
  /** Asks a question once more. It is answered by itself; nothing waits for that. */
  readonly askAgain: (question: AskedQuestion) => void;
  /** What the host program does to read its settings again; what it returns is said. */
  readonly reload:
    | (() => string | undefined | void | Promise<string | undefined> | Promise<void>)
    | undefined;
}

/** One command that somebody typed. */
export interface CommandContext extends CommandTools {
  readonly message: IncomingMessage;
  /** What was typed behind the name. */
  readonly argument: string;
  /** What the person who typed it may do. */
  readonly rank: Rank;
  /** The commands this person may use, as they are typed. */
  readonly allowed: readonly { readonly typed: string; readonly command: Command }[];
}

/** One command. */
export interface Command {
  /** Names people type behind the prefix; the first two are shown in lists. */
  readonly names: readonly string[];
  /** A line for the list. @default the phrase `commandSummaries` has under one of its names */
  readonly summary?: string;
  /** Who may use it, unless the option `commands.permissions` says otherwise. @default "everybody" */
  readonly needs?: Rank;
  /** Does it, and returns what to say about it; `undefined` for nothing. */
  run(context: CommandContext): string | undefined | Promise<string | undefined>;
}
