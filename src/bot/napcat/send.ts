// Reply segments in, message ids out. Always arrays of segments: a string would be parsed for CQ codes by NapCat.
// A message whose fate is unknown is never sent again.

import { LRUCache } from "lru-cache";
import { type ChatId, chatKey } from "../chat/chat-id.ts";
import type { ReplySegment } from "../reply/segments.ts";
import type { CallOptions, NapCatCalls } from "./calls.ts";
import type { ReplyTarget } from "./events.ts";
import { idOf, isRecord, wireId } from "./wire.ts";

/** Own messages remembered, to know when somebody quotes one. */
const MAX_SENT_IDS = 5000;

/** Sends replies and remembers which messages are the bot's own. */
export class Sender {
  readonly #calls: NapCatCalls;
  readonly #sent = new LRUCache<string, true>({ max: MAX_SENT_IDS });

  constructor(calls: NapCatCalls) {
    this.#calls = calls;
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
    const [action, params] = request(target, message);
    const answer = await this.#calls.call(action, params, options);
    const messageId = isRecord(answer) ? idOf(answer.message_id) : undefined;
    if (messageId !== undefined) this.#sent.set(sentKey(chat, messageId), true);
  }

  /** Did this sender send it? `false` also when that was too long ago to remember. */
  hasSent(chat: ChatId, messageId: string): boolean {
    return this.#sent.has(sentKey(chat, messageId));
  }
}

function request(target: ReplyTarget, message: readonly ReplySegment[]): [string, object] {
  if (target.kind === "group") {
    return ["send_group_msg", { group_id: wireId(target.groupId), message }];
  }
  const { userId, groupId } = target;
  const session = groupId === undefined ? {} : { group_id: wireId(groupId) };
  return ["send_private_msg", { user_id: wireId(userId), ...session, message }];
}

function sentKey(chat: ChatId, messageId: string): string {
  return `${chatKey(chat)}/${messageId}`;
}
