// Which messages are new: frames that come twice and messages QQ replays after an outage are not.

import { LRUCache } from "lru-cache";
import type { IncomingMessage } from "../napcat/events.ts";
import { chatKey } from "./chat-id.ts";

/** As many messages as a busy account sees in the time a repeat may take. */
const MAX_SEEN = 10_000;

export type Arrival = "new" | "repeated" | "stale";

/** Remembers the messages that came. */
export class Arrivals {
  readonly #maxAgeMs: number;
  readonly #now: () => number;
  readonly #seen = new LRUCache<string, true>({ max: MAX_SEEN });

  /** @param maxAgeMs older messages are stale; `Infinity`: none is */
  constructor(maxAgeMs: number, now: () => number = Date.now) {
    this.#maxAgeMs = maxAgeMs;
    this.#now = now;
  }

  /** Says what this message is, and remembers it. */
  note(message: IncomingMessage): Arrival {
    const key = `${message.selfId}/${chatKey(message.chat)}/${message.messageId}`;
    if (this.#seen.has(key)) return "repeated";
    this.#seen.set(key, true);
    const ageMs = message.timeMs === undefined ? 0 : this.#now() - message.timeMs;
    return ageMs > this.#maxAgeMs ? "stale" : "new";
  }
}
