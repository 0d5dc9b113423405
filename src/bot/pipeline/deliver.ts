// Last stage: an answer in, messages in the chat out. It asks which form suits the answer; what that makes of it is
// sent message by message, and not one more once the turn is cancelled.

import type { IncomingMessage } from "../napcat/events.ts";
import type { Sender } from "../napcat/send.ts";
import type { ReplyOptions } from "../options.ts";
import { replySegments } from "../reply/segments.ts";
import { splitText } from "../reply/split.ts";

/** Sends answers. */
export class Deliver {
  readonly #sender: Sender;
  readonly #options: ReplyOptions;

  constructor(sender: Sender, options: ReplyOptions) {
    this.#sender = sender;
    this.#options = options;
  }

  /**
   * Says something to whoever wrote this message.
   *
   * @throws {OneBotCallError} if a message was refused, or its fate is unknown.
   * @throws {unknown} `signal.reason` when aborted, also between two messages.
   */
  async deliver(text: string, to: IncomingMessage, signal: AbortSignal): Promise<void> {
    const { quote, maxCharacters } = this.#options;
    const quotes = quote === "always" || (quote === "group" && to.chat.kind === "group");
    let quoted = quotes ? to.messageId : undefined;
    for (const part of splitText(text, maxCharacters)) {
      signal.throwIfAborted();
      await this.#sender.send(to.chat, to.target, replySegments(part, quoted), { signal });
      quoted = undefined;
    }
  }
}
