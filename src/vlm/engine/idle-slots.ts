// Slots of sequences that have ended, with what they hold: who goes on from there takes the slot over, and nothing is
// copied. In: slots that nobody computes in any more. Out: the one that a new sequence continues. What they hold is in
// the prefix cache as well, so any of them may go at any time.

import type { KvSlot } from "./decoder-backend.ts";
import type { Forgettable } from "./prefix-blocks.ts";
import type { TokenContent } from "./token-content.ts";

interface IdleSlot {
  readonly slot: KvSlot;
  readonly content: TokenContent;
  readonly chat: string | undefined;
}

/** A slot of which less would stay is left to whom it belongs: the beginning is copied from the cache instead. */
const LEAST_SHARE = 1 / 2;

/** Slots that wait for whoever goes on. */
export class IdleSlots {
  /** Latest used last. */
  #idle: IdleSlot[] = [];

  get count(): number {
    // A run of several sequences takes places that are idle.
    this.#idle = this.#idle.filter(({ slot }) => !slot.disposed);
    return this.#idle.length;
  }

  /** Keeps a slot that nobody computes in any more; one that cannot lie idle is given back. */
  keep(slot: KvSlot, content: TokenContent, chat: string | undefined): void {
    if (slot.parked === undefined || slot.length === 0) {
      slot.dispose();
      return;
    }
    slot.parked = true;
    this.#idle.push({ slot, content, chat });
  }

  /** The slot that begins as the content does, cut to what is the same, and to `limit` tokens. */
  take(content: TokenContent, limit: number): KvSlot | undefined {
    let [best, most]: [IdleSlot | undefined, number] = [undefined, 0];
    for (const idle of this.#idle) {
      const { slot } = idle;
      if (slot.disposed) continue;
      const held = idle.content.part(0, slot.length);
      const tokens = Math.min(content.common(0, held), limit);
      if (tokens > most && tokens >= LEAST_SHARE * slot.length) [best, most] = [idle, tokens];
    }
    if (!best) return undefined;
    this.#idle.splice(this.#idle.indexOf(best), 1);
    best.slot.parked = false;
    best.slot.truncate(most);
    return best.slot;
  }

  /** Gives back the slot that was not used for longest. */
  drop(): void {
    this.#idle.shift()?.slot.dispose();
  }

  forget({ picture, chat }: Forgettable): void {
    const [kept, gone]: [IdleSlot[], IdleSlot[]] = [[], []];
    for (const idle of this.#idle) {
      const seen = picture !== undefined && idle.content.pictures.some(({ key }) => picture(key));
      const theirs = chat !== undefined && idle.chat === chat;
      (seen || theirs ? gone : kept).push(idle);
    }
    this.#idle = kept;
    for (const { slot } of gone) slot.dispose();
  }

  clear(): void {
    for (const { slot } of this.#idle) slot.dispose();
    this.#idle = [];
  }
}
