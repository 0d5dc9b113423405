// Last stage: an answer in, messages in the chat out. It asks which form suits the answer; what that makes of it is
// sent message by message, and not one more once the turn is cancelled.

import type { ChatId } from "../chat/chat-id.ts";
import { type CallOutcome, OneBotCallError } from "../errors.ts";
import type { IncomingMessage } from "../napcat/events.ts";
import type { Notice } from "../napcat/notices.ts";
import type { Sender } from "../napcat/send.ts";
import { noticeOfRefusal } from "../napcat/send-refusals.ts";
import type { ReplyOptions } from "../options.ts";
import { type ReplySegment, replySegments } from "../reply/segments.ts";
import { splitText } from "../reply/split.ts";
import type { HookRunner } from "./hooks.ts";

export interface DeliverOptions {
  readonly sender: Sender;
  readonly hooks: HookRunner;
  readonly reply: ReplyOptions;
  /** Told what a refusal says about the account or the group, such as that the bot is no member. */
  readonly onRefusal: (notice: Notice) => void;
  /** Told how sending to a chat goes. */
  readonly onOutcome: (chat: ChatId, outcome: SendOutcome) => void;
}

/** What became of a message: it was sent with this text, or why it was not, as far as is known. */
export type SendOutcome =
  | { readonly kind: "sent"; readonly text: string }
  | { readonly kind: "failed"; readonly outcome: CallOutcome };

/** Sends answers. */
export class Deliver {
  readonly #options: DeliverOptions;

  constructor(options: DeliverOptions) {
    this.#options = options;
  }

  /**
   * Says something to whoever wrote this message.
   *
   * @throws {HookError} if the host program could not be asked.
   * @throws {OneBotCallError} if a message was refused, or its fate is unknown.
   * @throws {unknown} `signal.reason` when aborted, also between two messages.
   */
  async deliver(text: string, to: IncomingMessage, signal: AbortSignal): Promise<void> {
    const { quote, maxCharacters } = this.#options.reply;
    const quotes = quote === "always" || (quote === "group" && to.chat.kind === "group");
    let quoted = quotes && to.poke !== true ? to.messageId : undefined;
    for (const part of splitText(text, maxCharacters)) {
      signal.throwIfAborted();
      await this.#send(replySegments(part, quoted), to, signal);
      quoted = undefined;
    }
  }

  async #send(
    segments: readonly ReplySegment[],
    { chat, target, selfId }: IncomingMessage,
    signal: AbortSignal,
  ): Promise<void> {
    const { sender, hooks, onRefusal, onOutcome } = this.#options;
    const wanted = await hooks.beforeSend(segments, chat);
    if (wanted === false) return;
    signal.throwIfAborted();
    try {
      await sender.send(chat, target, wanted, { signal });
      onOutcome(chat, { kind: "sent", text: textOf(wanted) });
    } catch (error) {
      if (error instanceof OneBotCallError) {
        onOutcome(chat, { kind: "failed", outcome: error.outcome });
      }
      const notice = noticeOfRefusal(error, target, selfId);
      if (notice !== undefined) onRefusal(notice);
      throw error;
    }
  }
}

function textOf(segments: readonly ReplySegment[]): string {
  return segments.map((segment) => (segment.type === "text" ? segment.data.text : "")).join("");
}
