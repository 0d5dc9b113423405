// Messages that were taken back before they could be looked at: NapCat handles events side by side, so a recall may
// overtake its message, or come while an earlier message of the same person is being decided on.

import { LRUCache } from "lru-cache";
import { type ChatId, chatKey } from "../chat/chat-id.ts";
import type { IncomingMessage } from "../napcat/events.ts";
import type { Notice } from "../napcat/notices.ts";
import type { Gate, Refusal } from "../pipeline/gate.ts";

/** Recalls remembered; one that comes before its message comes just before it. */
const MAX_RECALLED = 1000;

/** Remembers recalls. */
export class Recalled implements Gate {
  readonly #recalled = new LRUCache<string, true>({ max: MAX_RECALLED });

  /** Something happened in QQ. */
  note(notice: Notice): void {
    if (notice.kind === "recall") this.#recalled.set(key(notice.chat, notice.messageId), true);
  }

  refuse({ chat, messageId }: IncomingMessage): Refusal | undefined {
    return this.has(chat, messageId) ? { reason: "recalled" } : undefined;
  }

  has(chat: ChatId, messageId: string): boolean {
    return this.#recalled.has(key(chat, messageId));
  }
}

function key(chat: ChatId, messageId: string): string {
  return `${chatKey(chat)}/${messageId}`;
}
