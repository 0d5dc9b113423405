// Chats to which messages keep failing: the model does not work for answers that do not arrive, and an account QQ has its
// eyes on does not go on trying. In: how sending went. Out: a refusal for chats that are paused. When the pause is over,
// one question is let in to try.

import { LRUCache } from "lru-cache";
import { type ChatId, chatKey } from "../chat/chat-id.ts";
import type { CallOutcome } from "../errors.ts";
import type { IncomingMessage } from "../napcat/events.ts";
import type { AskedGate, Refusal } from "../pipeline/gate.ts";

export interface BreakerOptions {
  /** Messages in a row that were refused, or whose fate is unknown, until a chat is paused; 0: never. */
  readonly failures: number;
  readonly pauseMs: number;
}

interface ChatState {
  readonly failures: number;
  /** `undefined` while the chat is open. */
  readonly pausedUntilMs: number | undefined;
}

const MAX_CHATS = 5000;

/** Opens and closes chats. */
export class Breaker implements AskedGate {
  readonly #options: BreakerOptions;
  readonly #now: () => number;
  readonly #chats = new LRUCache<string, ChatState>({ max: MAX_CHATS });

  /** @param now milliseconds of any clock that does not jump */
  constructor(options: BreakerOptions, now: () => number = () => performance.now()) {
    this.#options = options;
    this.#now = now;
  }

  /** Asked about a question; letting one in after a pause starts the next pause for all others. */
  refuse({ chat }: IncomingMessage): Refusal | undefined {
    const state = this.#chats.get(chatKey(chat));
    if (state?.pausedUntilMs === undefined) return undefined;
    if (this.#now() < state.pausedUntilMs) return { reason: "sends-fail" };
    this.#pause(chat, state.failures);
    return undefined;
  }

  isPaused(chat: ChatId): boolean {
    return this.#chats.get(chatKey(chat))?.pausedUntilMs !== undefined;
  }

  /** How many chats are paused, as far as nobody has tried them since. */
  get pausedChats(): number {
    return [...this.#chats.values()].filter((state) => state.pausedUntilMs !== undefined).length;
  }

  /** A message arrived, or somebody who knows better says that the next one will. */
  close(chat: ChatId): void {
    this.#chats.delete(chatKey(chat));
  }

  /** A message did not arrive, for all that is known. Returns whether that paused the chat. */
  failed(chat: ChatId, outcome: CallOutcome): boolean {
    // What never left this process says nothing about the chat.
    if (outcome === "not-sent" || this.#options.failures === 0) return false;
    const before = this.#chats.get(chatKey(chat));
    const failures = (before?.failures ?? 0) + 1;
    if (failures < this.#options.failures) {
      this.#chats.set(chatKey(chat), { failures, pausedUntilMs: undefined });
      return false;
    }
    this.#pause(chat, failures);
    return before?.pausedUntilMs === undefined;
  }

  #pause(chat: ChatId, failures: number): void {
    const pausedUntilMs = this.#now() + this.#options.pauseMs;
    this.#chats.set(chatKey(chat), { failures, pausedUntilMs });
  }
}
