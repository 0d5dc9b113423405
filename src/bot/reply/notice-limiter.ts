// How often a chat is told that the bot is busy: once per window, however many questions come.

import { LRUCache } from "lru-cache";
import { type ChatId, chatKey } from "../chat/chat-id.ts";

const WINDOW_MS = 60_000;
const MAX_CHATS = 1000;

/** Lets one notice per chat and window through. */
export class NoticeLimiter {
  readonly #now: () => number;
  readonly #lastMs = new LRUCache<string, number>({ max: MAX_CHATS });

  constructor(now: () => number = Date.now) {
    this.#now = now;
  }

  /** May this chat be told now? Asking counts as telling when the answer is yes. */
  take(chat: ChatId): boolean {
    const key = chatKey(chat);
    const last = this.#lastMs.get(key);
    if (last !== undefined && Math.abs(this.#now() - last) < WINDOW_MS) return false;
    this.#lastMs.set(key, this.#now());
    return true;
  }
}
