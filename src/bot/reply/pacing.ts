// How fast messages follow one another in a chat: QQ is hard on accounts that write like machines. In: chats in which a
// message is about to be sent. Out: when. The first message after a silence waits for nothing.

import { setTimeout as sleep } from "node:timers/promises";
import { LRUCache } from "lru-cache";
import { type ChatId, chatKey } from "../chat/chat-id.ts";

export interface PacingOptions {
  /** Milliseconds from one message of a chat to the next. */
  readonly gapMs: number;
  /** Up to as many more, at random. */
  readonly jitterMs: number;
}

const MAX_CHATS = 1000;

/** Keeps the pace of every chat. */
export class Pacing {
  readonly #options: PacingOptions;
  readonly #random: () => number;
  readonly #now: () => number;
  /** When the next message of a chat may go. */
  readonly #next = new LRUCache<string, number>({ max: MAX_CHATS });

  /** @param now milliseconds of any clock that does not jump */
  constructor(
    options: PacingOptions,
    random: () => number = Math.random,
    now: () => number = () => performance.now(),
  ) {
    this.#options = options;
    this.#random = random;
    this.#now = now;
  }

  /** Takes the next moment of this chat; how long it is until then, in milliseconds. */
  take(chat: ChatId): number {
    const now = this.#now();
    const at = Math.max(now, this.#next.get(chatKey(chat)) ?? now);
    const { gapMs, jitterMs } = this.#options;
    this.#next.set(chatKey(chat), at + gapMs + this.#random() * jitterMs);
    return at - now;
  }

  /** Resolves when it is this message's turn; rejects with `signal.reason`. */
  async wait(chat: ChatId, signal: AbortSignal): Promise<void> {
    const ms = this.take(chat);
    if (ms > 0) await sleep(ms, undefined, { signal }).catch(() => signal.throwIfAborted());
  }
}
