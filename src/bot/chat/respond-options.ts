// What whoever asks for an answer may want of it: to follow it, to change it, to send it, to end it. Types only.

import type { Rank } from "../rank.ts";
import type { ToolEvent } from "../tools/toolbox.ts";
import type { Reply, ReplyPart } from "./answer-text.ts";
import type { Turn } from "./turn.ts";

export interface RespondOptions {
  /** Aborting rejects with `signal.reason`, waiting or running; nothing is remembered then. */
  readonly signal?: AbortSignal;
  /** Turns of higher priority go to the model first, from -100 to 100. @default 0 */
  readonly priority?: number;
  /** Called when the turn is the next of its chat and goes to the model. */
  readonly onStart?: () => void;
  /** Called with every piece of the answer as it is written. */
  readonly onPart?: (part: ReplyPart) => void;
  /**
   * What the bot itself is called in this chat. Asked only when an answer begins with a word and a colon: models
   * imitate `name：`, and that is taken off like the speakers' names.
   */
  readonly ownNames?: () => Promise<readonly string[]>;
  /** Of whoever asks: some tools are for some people only. @default "everybody" */
  readonly rank?: Rank;
  /** Told what the chat should hear while a tool is at work. */
  readonly onToolNote?: (note: string) => void;
  /** Told how each call of a tool ended. */
  readonly onTool?: (event: ToolEvent) => void;
  /** Told of each picture that the model could not decode; it was asked again, with a note in place of that one. */
  readonly onBadPicture?: (error: unknown) => void;
  /** Another answer in place of the one that was written, or none at all; what it returns is remembered. */
  readonly edit?: (reply: Reply, turn: Turn) => Promise<Reply | undefined>;
  /**
   * What was sent of the answer in the end, where it is sent while it is written: this is what is remembered of it, also
   * when it is broken off, unless the question was taken back.
   */
  readonly said?: () => Promise<string>;
  /** Sends the answer while the turn still has its place: the chat's next turn starts after it. */
  readonly deliver?: (reply: Reply) => Promise<void>;
}
