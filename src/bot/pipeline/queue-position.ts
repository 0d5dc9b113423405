// Whoever waits behind many others is told so, once a minute and chat. In: a turn that is about to wait. Out: a sentence,
// or nothing. It knows nothing of who goes first: that a question is answered earlier than announced does no harm.

import { NoticeLimiter } from "../reply/notice-limiter.ts";
import type { PeoplePhrases } from "../reply/phrases.ts";
import type { RunningTurn, RunningTurns } from "./running-turns.ts";

/** Counts who is ahead. */
export class QueuePosition {
  readonly #turns: RunningTurns;
  readonly #from: number;
  readonly #phrases: PeoplePhrases;
  readonly #notices: NoticeLimiter;

  /** @param from fewer ahead are not worth a word; 0: none are */
  constructor(
    turns: RunningTurns,
    from: number,
    phrases: PeoplePhrases,
    notices: NoticeLimiter = new NoticeLimiter(),
  ) {
    this.#turns = turns;
    this.#from = from;
    this.#phrases = phrases;
    this.#notices = notices;
  }

  notice(turn: RunningTurn): string | undefined {
    if (this.#from === 0) return undefined;
    const ahead = this.#turns.list().filter(({ id, signal }) => id < turn.id && !signal.aborted);
    if (ahead.length < this.#from || !this.#notices.take(turn.chat)) return undefined;
    return this.#phrases.queued(ahead.length);
  }
}
