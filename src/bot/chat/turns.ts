// Who is next: turns of one chat run one after the other, turns of different chats side by side.
// In: chats that want a place. Out: places, in order. It knows nothing of what is done with them.

import { untilAborted } from "../../abort.ts";
import { QueueFullError } from "../../vlm/index.ts";
import { type ChatId, chatKey } from "./chat-id.ts";

export interface TurnQueueOptions {
  /** Most turns that wait in all chats together. */
  readonly maxWaiting: number;
  /** Most turns that wait in one chat, besides the one that runs. */
  readonly maxWaitingPerChat: number;
}

/** A place in the queue of one chat. */
export interface Place {
  /** Resolves when every earlier turn of the chat has left; rejects with `signal.reason`. */
  reached(signal?: AbortSignal): Promise<void>;
  /** Lets the next one in. Calling it again, or before the place was reached, is fine. */
  leave(): void;
}

class Waiter {
  enter: () => void = () => {};
  readonly entered = new Promise<void>((resolve) => {
    this.enter = resolve;
  });
}

/** The queue of every chat. A chat without turns takes no memory. */
export class TurnQueue {
  /** May be replaced at any time; whoever waits already keeps their place. */
  limits: TurnQueueOptions;
  /** The head of each list is the turn that runs. */
  readonly #chats = new Map<string, Waiter[]>();
  #waiting = 0;

  constructor(options: TurnQueueOptions) {
    this.limits = options;
  }

  /** Turns that wait behind another one, in all chats. */
  get waiting(): number {
    return this.#waiting;
  }

  /**
   * Takes the next place of this chat.
   *
   * @throws {QueueFullError} if this chat, or all of them together, have enough waiting turns.
   */
  join(chat: ChatId): Place {
    const key = chatKey(chat);
    const line = this.#chats.get(key) ?? [];
    if (line.length > 0) this.#refuseIfFull(line.length - 1);

    const waiter = new Waiter();
    line.push(waiter);
    this.#chats.set(key, line);
    if (line.length === 1) waiter.enter();
    else this.#waiting++;

    return {
      reached: (signal) => untilAborted(waiter.entered, signal),
      leave: () => this.#leave(key, waiter),
    };
  }

  #refuseIfFull(waitingHere: number): void {
    const { maxWaiting, maxWaitingPerChat } = this.limits;
    if (waitingHere >= maxWaitingPerChat) {
      throw new QueueFullError(waitingHere, maxWaitingPerChat, "raise maxQueuePerChat");
    }
    if (this.#waiting >= maxWaiting) throw new QueueFullError(this.#waiting, maxWaiting);
  }

  #leave(key: string, waiter: Waiter): void {
    const line = this.#chats.get(key) ?? [];
    const position = line.indexOf(waiter);
    if (position < 0) return;
    line.splice(position, 1);
    // Whoever stood behind another turn, or moves up to run, no longer waits.
    if (position > 0 || line.length > 0) this.#waiting--;
    if (line.length === 0) this.#chats.delete(key);
    else if (position === 0) line[0]?.enter();
  }
}
