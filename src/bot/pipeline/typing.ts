// Somebody is typing to the bot: what the model needs of their chat is computed before they have finished.
// In: notices, which are many and mean little. Out: now and then a call of the model. It never starts a turn.

import { LRUCache } from "lru-cache";
import type { Responder } from "../chat/responder.ts";

/** NapCat repeats the notice with every few letters. */
const PAUSE_MS = 60_000;
const MAX_PEOPLE = 1000;

/** Warms the chats of people who type. */
export class Typing {
  readonly #responder: Pick<Responder, "warm">;
  readonly #signal: AbortSignal;
  readonly #now: () => number;
  readonly #warmedAt = new LRUCache<string, number>({ max: MAX_PEOPLE });

  constructor(
    responder: Pick<Responder, "warm">,
    signal: AbortSignal,
    now: () => number = Date.now,
  ) {
    this.#responder = responder;
    this.#signal = signal;
    this.#now = now;
  }

  note(userId: string): void {
    const last = this.#warmedAt.get(userId);
    if (last !== undefined && Math.abs(this.#now() - last) < PAUSE_MS) return;
    this.#warmedAt.set(userId, this.#now());
    this.#responder.warm({ kind: "private", id: userId }, this.#signal).catch(() => {});
  }
}
