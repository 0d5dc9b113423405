// Turns from their first message to their last sentence: who asks, which messages they are made of, how far they are.
// In: reasons to end some of them. Out: one signal for each turn. It knows nothing of what the reasons come from.

import { sharedController } from "../../abort.ts";
import { type ChatId, chatKey } from "../chat/chat-id.ts";
import { type CancelReason, TurnCancelledError } from "../errors.ts";

/** Where a turn is on its way. */
export type TurnStage = "merging" | "gathering" | "waiting" | "answering" | "delivering";

/** How a turn ended. */
export type TurnOutcome = "answered" | "failed" | CancelReason;

export interface TurnFacts {
  readonly chat: ChatId;
  /** QQ number of the person who asked. */
  readonly senderId: string;
  /** What made it a turn, such as `mention`. */
  readonly trigger: string;
}

/** One turn. */
export class RunningTurn implements TurnFacts {
  readonly id: number;
  readonly chat: ChatId;
  readonly senderId: string;
  readonly trigger: string;
  /** Milliseconds since 1970. */
  readonly startedAtMs = Date.now();
  stage: TurnStage = "merging";
  /** The model has begun its answer. */
  writing = false;
  /** Set while the turn is still being put together: takes a message out of it, if it can do without. */
  spare: (messageId: string) => boolean = () => false;
  readonly #controller = sharedController();
  readonly #messageIds = new Set<string>();
  readonly #onEnd: (turn: RunningTurn, outcome: TurnOutcome) => void;
  #timer: NodeJS.Timeout | undefined;
  #ended = false;

  constructor(
    id: number,
    facts: TurnFacts,
    onEnd: (turn: RunningTurn, outcome: TurnOutcome) => void,
  ) {
    this.id = id;
    this.chat = facts.chat;
    this.senderId = facts.senderId;
    this.trigger = facts.trigger;
    this.#onEnd = onEnd;
  }

  /** Aborts with a {@link TurnCancelledError}. */
  get signal(): AbortSignal {
    return this.#controller.signal;
  }

  /** The turn holds what was said in this message of its chat: taken back, it ends the turn. */
  involve(messageId: string): void {
    this.#messageIds.add(messageId);
  }

  /** The turn no longer holds anything of this message. */
  release(messageId: string): void {
    this.#messageIds.delete(messageId);
  }

  involves(messageId: string): boolean {
    return this.#messageIds.has(messageId);
  }

  get messageIds(): readonly string[] {
    return [...this.#messageIds];
  }

  /** Ends the turn by itself after this long. */
  endAfter(timeoutMs: number): void {
    this.#timer = setTimeout(() => this.cancel("deadline"), timeoutMs);
  }

  /** Aborts the turn; the first reason counts. */
  cancel(reason: CancelReason): void {
    this.#controller.abort(new TurnCancelledError(reason));
  }

  /** The turn is over. Calling it again changes nothing. */
  end(outcome: "answered" | "failed"): void {
    if (this.#ended) return;
    this.#ended = true;
    clearTimeout(this.#timer);
    const { reason } = this.signal;
    this.#onEnd(this, reason instanceof TurnCancelledError ? reason.reason : outcome);
  }
}

/** All turns that are not over. */
export class RunningTurns {
  readonly #turns = new Map<number, RunningTurn>();
  readonly #listeners = new Set<(turn: RunningTurn, outcome: TurnOutcome) => void>();
  #lastId = 0;

  /** How many turns ever began. */
  get begun(): number {
    return this.#lastId;
  }

  /** Begins a turn; whoever begins it calls `end()`. */
  begin(facts: TurnFacts): RunningTurn {
    const turn = new RunningTurn(++this.#lastId, facts, (ended, outcome) => {
      this.#turns.delete(ended.id);
      for (const listener of this.#listeners) listener(ended, outcome);
    });
    this.#turns.set(turn.id, turn);
    return turn;
  }

  /** Turns in the order they began. */
  list(): readonly RunningTurn[] {
    return [...this.#turns.values()];
  }

  inChat(chat: ChatId): readonly RunningTurn[] {
    return this.list().filter((turn) => chatKey(turn.chat) === chatKey(chat));
  }

  /** Ends the turns that match, and says how many those were. */
  cancel(reason: CancelReason, matches: (turn: RunningTurn) => boolean = () => true): number {
    const cancelled = this.list().filter((turn) => !turn.signal.aborted && matches(turn));
    for (const turn of cancelled) turn.cancel(reason);
    return cancelled.length;
  }

  /** Tells of every turn that is over; returns what ends that. A listener must not throw. */
  onEnd(listener: (turn: RunningTurn, outcome: TurnOutcome) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }
}
