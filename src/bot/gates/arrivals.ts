// Which messages are new: frames that come twice and messages QQ replays after an outage are not.

import { LRUCache } from "lru-cache";
import { chatKey } from "../chat/chat-id.ts";
import type { IncomingMessage } from "../napcat/events.ts";
import type { Gate, Refusal } from "../pipeline/gate.ts";

/** As many messages as a busy account sees in the time a repeat may take. */
const MAX_SEEN = 10_000;

export type Arrival = "new" | "repeated" | "stale";

/** Remembers the messages that came. */
export class Arrivals implements Gate {
  readonly #maxAgeMs: () => number;
  readonly #now: () => number;
  readonly #seen = new LRUCache<string, true>({ max: MAX_SEEN });

  /** @param maxAgeMs older messages are stale; `Infinity`: none is */
  constructor(maxAgeMs: () => number, now: () => number = Date.now) {
    this.#maxAgeMs = maxAgeMs;
    this.#now = now;
  }

  refuse(message: IncomingMessage): Refusal | undefined {
    const arrival = this.note(message);
    return arrival === "new" ? undefined : { reason: arrival };
  }

  /** Says what this message is, and remembers it. */
  note(message: IncomingMessage): Arrival {
    const key = `${message.selfId}/${chatKey(message.chat)}/${message.messageId}`;
    if (this.#seen.has(key)) return "repeated";
    this.#seen.set(key, true);
    const ageMs = message.timeMs === undefined ? 0 : this.#now() - message.timeMs;
    return ageMs > this.#maxAgeMs() ? "stale" : "new";
  }
}
