// Last stage: an answer in, messages in the chat out. It asks which form suits the answer; what that makes of it is
// sent message by message, and not one more once the turn is cancelled.

import type { ChatId } from "../chat/chat-id.ts";
import { type CallOutcome, OneBotCallError } from "../errors.ts";
import type { IncomingMessage } from "../napcat/events.ts";
import type { Notice } from "../napcat/notices.ts";
import type { Sender } from "../napcat/send.ts";
import { noticeOfRefusal } from "../napcat/send-refusals.ts";
import type { ReplyOptions } from "../options.ts";
import { Pacing } from "../reply/pacing.ts";
import { plainText } from "../reply/plain-text.ts";
import { type Address, type ReplySegment, replySegments } from "../reply/segments.ts";
import { splitText } from "../reply/split.ts";
import type { HookRunner } from "./hooks.ts";

export interface DeliverOptions {
  readonly sender: Sender;
  readonly hooks: HookRunner;
  readonly reply: ReplyOptions;
  /** Whose name stands above the messages of a merged forward. */
  readonly forwardName: string;
  /** Told what a refusal says about the account or the group, such as that the bot is no member. */
  readonly onRefusal: (notice: Notice) => void;
  /** Told how sending to a chat goes. */
  readonly onOutcome: (chat: ChatId, outcome: SendOutcome) => void;
}

/** What became of a message: it was sent with this text, or why it was not, as far as is known. */
export type SendOutcome =
  | { readonly kind: "sent"; readonly text: string }
  | { readonly kind: "failed"; readonly outcome: CallOutcome };

export interface Manner {
  /** The bot's own words, not the model's: they hold no Markdown, and wait for nothing. */
  readonly isOwnText?: boolean;
  /** More of an answer whose beginning was sent: it turns to nobody once more. */
  readonly continues?: boolean;
  /** It was waited for with {@link Deliver.turn}. */
  readonly hasWaited?: boolean;
}

/** Sends answers. */
export class Deliver {
  readonly #options: DeliverOptions;
  readonly #pacing: Pacing;

  constructor(options: DeliverOptions) {
    this.#options = options;
    this.#pacing = new Pacing(options.reply);
  }

  /**
   * Says something to whoever wrote this message.
   *
   * @throws {HookError} if the host program could not be asked.
   * @throws {OneBotCallError} if a message was refused, or its fate is unknown.
   * @throws {unknown} `signal.reason` when aborted, also between two messages.
   */
  async deliver(
    text: string,
    to: IncomingMessage,
    signal: AbortSignal,
    manner: Manner = {},
  ): Promise<void> {
    const { markdown, maxCharacters } = this.#options.reply;
    const { text: said, whole } =
      markdown === "plain" && manner.isOwnText !== true
        ? plainText(text)
        : { text: text.trim(), whole: [] };
    const parts = splitText(said, maxCharacters, whole);
    let waits = manner.hasWaited !== true;
    if (this.#folds(said, to) && (await this.#fold(parts, to, signal, waits))) return;
    let address = manner.continues === true ? {} : this.#address(to);
    for (const part of parts) {
      if (manner.isOwnText === true) this.#pacing.take(to.chat);
      else if (waits) await this.#pacing.wait(to.chat, signal);
      waits = true;
      signal.throwIfAborted();
      await this.#send(replySegments(part, address), to, signal);
      address = {};
    }
  }

  /** Are answers sent while they are written? Not where the host program wants to read them first. */
  get streams(): boolean {
    return this.#options.reply.stream && !this.#options.hooks.editsAnswers;
  }

  /** Resolves when the next message of this chat may go; rejects with `signal.reason`. */
  turn({ chat }: IncomingMessage, signal: AbortSignal): Promise<void> {
    return this.#pacing.wait(chat, signal);
  }

  /** The first message of an answer turns to whoever asked. */
  #address({ chat, poke, messageId, sender }: IncomingMessage): Address {
    const { quote, mention } = this.#options.reply;
    const inGroup = chat.kind === "group";
    const quotes = poke !== true && (quote === "always" || (quote === "group" && inGroup));
    return {
      ...(quotes ? { quotedId: messageId } : {}),
      // QQ drops mentions in private.
      ...(mention === "group" && inGroup ? { mentionedId: sender.id } : {}),
    };
  }

  #folds(text: string, { target }: IncomingMessage): boolean {
    const { forwardCharacters } = this.#options.reply;
    const isTemporary = target.kind === "private" && target.temporary === true;
    return forwardCharacters > 0 && text.length > forwardCharacters && !isTemporary;
  }

  /** Sends a long answer as one merged forward; `false` if NapCat said that it did not, and nothing else speaks against it. */
  async #fold(
    parts: readonly string[],
    to: IncomingMessage,
    signal: AbortSignal,
    waits: boolean,
  ): Promise<boolean> {
    const { sender, hooks, forwardName, onOutcome } = this.#options;
    const { chat, target, selfId } = to;
    const wanted = await Promise.all(
      parts.map((part) => hooks.beforeSend(replySegments(part), chat)),
    );
    const messages = wanted.flatMap((segments) =>
      segments === false ? [] : [{ senderId: selfId, senderName: forwardName, segments }],
    );
    if (messages.length === 0) return true;
    if (waits) await this.#pacing.wait(chat, signal);
    signal.throwIfAborted();
    try {
      await sender.forward(chat, target, messages, { signal });
      onOutcome(chat, { kind: "sent", text: parts.join("\n") });
      return true;
    } catch (error) {
      const refused = error instanceof OneBotCallError && error.outcome === "refused";
      // Whatever may have arrived is not said twice.
      if (!refused || noticeOfRefusal(error, target, selfId) !== undefined) {
        return this.#failed(error, to);
      }
      return false;
    }
  }

  async #send(
    segments: readonly ReplySegment[],
    to: IncomingMessage,
    signal: AbortSignal,
  ): Promise<void> {
    const { sender, hooks, onOutcome } = this.#options;
    const { chat, target } = to;
    const wanted = await hooks.beforeSend(segments, chat);
    if (wanted === false) return;
    signal.throwIfAborted();
    try {
      await sender.send(chat, target, wanted, { signal });
      onOutcome(chat, { kind: "sent", text: textOf(wanted) });
    } catch (error) {
      this.#failed(error, to);
    }
  }

  #failed(error: unknown, { chat, target, selfId }: IncomingMessage): never {
    const { onRefusal, onOutcome } = this.#options;
    if (error instanceof OneBotCallError) {
      onOutcome(chat, { kind: "failed", outcome: error.outcome });
    }
    const notice = noticeOfRefusal(error, target, selfId);
    if (notice !== undefined) onRefusal(notice);
    throw error;
  }
}

function textOf(segments: readonly ReplySegment[]): string {
  return segments.map((segment) => (segment.type === "text" ? segment.data.text : "")).join("");
}
