// Whoever waits behind many others for a while is told so, once a minute and chat. In: a turn that is about to wait. Out: a
// sentence, or nothing. It knows nothing of who goes first: that a question is answered earlier than announced does no harm.

import { NoticeLimiter } from "../reply/notice-limiter.ts";
import type { PeoplePhrases } from "../reply/phrases.ts";
import type { RunningTurn, RunningTurns } from "./running-turns.ts";

export interface QueuePositionOptions {
  /** Fewer ahead are not worth a word; 0: none are. */
  readonly queueNoticeFrom: number;
  /** Milliseconds somebody waits before anything is said: most queues are gone by then. */
  readonly queueNoticeAfterMs: number;
}

/** Counts who is ahead. */
export class QueuePosition {
  readonly #turns: RunningTurns;
  readonly #options: QueuePositionOptions;
  readonly #phrases: PeoplePhrases;
  readonly #notices: NoticeLimiter;

  constructor(
    turns: RunningTurns,
    options: QueuePositionOptions,
    phrases: PeoplePhrases,
    notices: NoticeLimiter = new NoticeLimiter(),
  ) {
    this.#turns = turns;
    this.#options = options;
    this.#phrases = phrases;
    this.#notices = notices;
  }

  /** Says how many are ahead of this turn, if it still waits after a while. What `say` throws is nobody's trouble. */
  watch(turn: RunningTurn, say: (notice: string) => Promise<void>): void {
    const { queueNoticeFrom, queueNoticeAfterMs } = this.#options;
    if (queueNoticeFrom === 0) return;
    const look = () => {
      const notice = this.#notice(turn);
      if (notice !== undefined) say(notice).catch(() => {});
    };
    setTimeout(look, queueNoticeAfterMs).unref();
  }

  #notice(turn: RunningTurn): string | undefined {
    const waiting = this.#turns.list().filter(isOnItsWay);
    if (!waiting.includes(turn) || turn.writing) return undefined;
    const ahead = waiting.filter(({ id }) => id < turn.id).length;
    if (ahead < this.#options.queueNoticeFrom || !this.#notices.take(turn.chat)) return undefined;
    return this.#phrases.queued(ahead);
  }
}

/** Of those whose question is not complete yet, and those whose answer is written, nobody has to wait long. */
function isOnItsWay({ stage, signal }: RunningTurn): boolean {
  return !signal.aborted && stage !== "merging" && stage !== "delivering";
}
