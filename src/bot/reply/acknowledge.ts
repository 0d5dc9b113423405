// Shows that the bot is at work when an answer takes a while: an emoji on the question in a group, "is typing" in private.
// In: questions that begin and end. Out: calls whose failure changes nothing.

import type { NapCatCalls } from "../napcat/calls.ts";
import type { IncomingMessage } from "../napcat/events.ts";
import { wireId } from "../napcat/wire.ts";

export interface AcknowledgeOptions {
  /** How long an answer may take before anything is shown; 0: nothing ever is. */
  readonly afterMs: number;
  /** Emoji put on the question, and taken off at the end; `""`: none. QQ's number of a face, or Unicode's of an emoji. */
  readonly receipt: string;
  /** Emoji that stays when the question was answered; `""`: none. */
  readonly done: string;
  /** Emoji that stays when it could not be. */
  readonly failed: string;
}

/** How a question ended; one that was taken back or stopped is not judged. */
export type Ending = "done" | "failed" | "cancelled";

const TYPING = 1;
const NOT_TYPING = 2;

/** One question that is being worked on. */
export interface Acknowledged {
  /** From now on the asker waits. */
  start(): void;
  /** Only the first end counts. */
  end(ending: Ending): void;
}

/** Acknowledges questions. */
export class Acknowledge {
  readonly #calls: NapCatCalls;
  readonly #options: AcknowledgeOptions;

  constructor(calls: NapCatCalls, options: AcknowledgeOptions) {
    this.#calls = calls;
    this.#options = options;
  }

  begin(message: IncomingMessage): Acknowledged {
    const { afterMs } = this.#options;
    let timer: NodeJS.Timeout | undefined;
    let shown: Promise<void> | undefined;
    let ended = false;
    return {
      start: () => {
        if (afterMs === 0 || ended || !isReachable(message)) return;
        timer = setTimeout(() => {
          shown = this.#begin(message);
        }, afterMs);
      },
      end: (ending) => {
        if (ended) return;
        ended = true;
        clearTimeout(timer);
        // One after the other: a receipt must not arrive behind its end.
        shown?.then(() => this.#end(message, ending)).catch(() => {});
      },
    };
  }

  /** Puts the emoji of a failure on a question of a group, however long it took. Never rejects. */
  async fail(message: IncomingMessage): Promise<void> {
    if (isReachable(message)) await this.#react(message, this.#options.failed, true);
  }

  async #begin(message: IncomingMessage): Promise<void> {
    if (message.chat.kind === "private") await this.#typing(message, TYPING);
    else await this.#react(message, this.#options.receipt, true);
  }

  async #end(message: IncomingMessage, ending: Ending): Promise<void> {
    if (message.chat.kind === "private") {
      await this.#typing(message, NOT_TYPING);
      return;
    }
    await this.#react(message, this.#options.receipt, false);
    if (ending !== "cancelled") await this.#react(message, this.#options[ending], true);
  }

  async #react({ messageId }: IncomingMessage, emoji: string, set: boolean): Promise<void> {
    if (emoji === "") return;
    const params = { message_id: wireId(messageId), emoji_id: emoji, set };
    await this.#call("set_msg_emoji_like", params);
  }

  async #typing({ sender }: IncomingMessage, event: number): Promise<void> {
    await this.#call("set_input_status", { user_id: sender.id, event_type: event });
  }

  async #call(action: string, params: object): Promise<void> {
    try {
      await this.#calls.call(action, params);
    } catch {
      // It was only a sign.
    }
  }
}

/** Nothing can be put on a poke, and nobody can be typed to who is no friend. */
function isReachable({ poke, target }: IncomingMessage): boolean {
  return poke !== true && !(target.kind === "private" && target.temporary === true);
}
