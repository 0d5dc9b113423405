// Reply segments in, message ids out. Always arrays of segments: a string would be parsed for CQ codes by NapCat.
// A message whose fate is unknown is never sent again.

import { LRUCache } from "lru-cache";
import { type ChatId, chatKey } from "../chat/chat-id.ts";
import type { ReplySegment } from "../reply/segments.ts";
import type { CallOptions, NapCatCalls } from "./calls.ts";
import type { ReplyTarget } from "./events.ts";
import { TemporarySessions } from "./temporary-sessions.ts";
import { idOf, isRecord, wireId } from "./wire.ts";

/** Own messages remembered, to know when somebody quotes one. */
const MAX_SENT_IDS = 5000;

/** A message inside a merged forward. */
export interface ForwardedReply {
  readonly senderId: string;
  readonly senderName: string;
  readonly segments: readonly ReplySegment[];
}

/** Sends replies and remembers which messages are the bot's own. */
export class Sender {
  readonly #calls: NapCatCalls;
  readonly #sessions: TemporarySessions;
  readonly #sent = new LRUCache<string, true>({ max: MAX_SENT_IDS });

  constructor(calls: NapCatCalls, sessions = new TemporarySessions(calls)) {
    this.#calls = calls;
    this.#sessions = sessions;
  }

  /**
   * Sends one message.
   *
   * @throws {OneBotCallError} if it was refused, or its fate is unknown.
   */
  async send(
    chat: ChatId,
    target: ReplyTarget,
    message: readonly ReplySegment[],
    options: CallOptions = {},
  ): Promise<void> {
    const answer = await this.#call(target, message, options);
    const messageId = isRecord(answer) ? idOf(answer.message_id) : undefined;
    if (messageId !== undefined) this.#sent.set(sentKey(chat, messageId), true);
  }

  /**
   * Sends several messages as one merged forward, which people open by a tap.
   *
   * @throws {OneBotCallError} if it was refused, or its fate is unknown.
   */
  async forward(
    chat: ChatId,
    target: ReplyTarget,
    messages: readonly ForwardedReply[],
    options: CallOptions = {},
  ): Promise<void> {
    const nodes = messages.map(({ senderId, senderName, segments }) => ({
      type: "node",
      data: { user_id: senderId, nickname: senderName, content: segments },
    }));
    const answer = await (target.kind === "group"
      ? this.#calls.call(
          "send_group_forward_msg",
          { group_id: wireId(target.groupId), messages: nodes },
          options,
        )
      : this.#calls.call(
          "send_private_forward_msg",
          { user_id: wireId(target.userId), messages: nodes },
          options,
        ));
    const messageId = isRecord(answer) ? idOf(answer.message_id) : undefined;
    if (messageId !== undefined) this.#sent.set(sentKey(chat, messageId), true);
  }

  /** What is private goes to a person and names no group, whatever it is an answer to. */
  #call(
    target: ReplyTarget,
    message: readonly ReplySegment[],
    options: CallOptions,
  ): Promise<unknown> {
    if (target.kind === "group") {
      const params = { group_id: wireId(target.groupId), message };
      return this.#calls.call("send_group_msg", params, options);
    }
    if (target.temporary === true) return this.#sessions.send(target, message, options);
    const params = { user_id: wireId(target.userId), message };
    return this.#calls.call("send_private_msg", params, options);
  }

  /** Did this sender send it? `false` also when that was too long ago to remember. */
  hasSent(chat: ChatId, messageId: string): boolean {
    return this.#sent.has(sentKey(chat, messageId));
  }
}

function sentKey(chat: ChatId, messageId: string): string {
  return `${chatKey(chat)}/${messageId}`;
}
