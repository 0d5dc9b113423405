// Who gets a slot next: requests in, one request out. Higher priority first, then the chat that has had least, then
// whoever came first; a bounded number waits. It knows nothing of what is done with a slot.

import { LRUCache } from "lru-cache";
import { QueueFullError } from "../errors.ts";

/** A request that waits. */
export interface Waiter {
  /** Undefined: a chat of its own. */
  readonly chat: string | undefined;
  /** Higher goes first. */
  readonly priority: number;
  /** Told of its place whenever that changes: from 1 while it waits, 0 once it is its turn. */
  readonly onQueue?: ((position: number) => void) | undefined;
}

/** Chats whose last turn is remembered. */
const MOST_CHATS = 1024;

/** A queue that is fair between chats. */
export class WaitingLine<T extends Waiter> {
  readonly #limit: number;
  readonly #waiting: T[] = [];
  readonly #positions = new Map<T, number>();
  readonly #lastTurn = new LRUCache<string, number>({ max: MOST_CHATS });
  #turns = 0;

  /** @param limit most requests that may wait */
  constructor(limit: number) {
    this.#limit = limit;
  }

  get length(): number {
    return this.#waiting.length;
  }

  /** In the order of coming. */
  get waiting(): readonly T[] {
    return this.#waiting;
  }

  /**
   * @param free how many of those in the line will not wait
   * @throws QueueFullError when nobody may join
   */
  expectRoom(free: number): void {
    const waiting = Math.max(0, this.#waiting.length - free);
    if (this.#waiting.length < free || waiting < this.#limit) return;
    throw new QueueFullError(waiting, this.#limit);
  }

  /** Joins at the end, whatever the limit says. */
  add(waiter: T): void {
    this.#waiting.push(waiter);
  }

  /** Leaves before it is its turn. */
  remove(waiter: T): boolean {
    const index = this.#waiting.indexOf(waiter);
    if (index === -1) return false;
    this.#waiting.splice(index, 1);
    this.#positions.delete(waiter);
    return true;
  }

  /** Whose turn it is, given who is being served. They leave the line. */
  take(served: readonly Waiter[]): T | undefined {
    const next = this.#order(served, 1)[0];
    if (!next) return undefined;
    this.remove(next);
    if (next.chat !== undefined) this.#lastTurn.set(next.chat, ++this.#turns);
    next.onQueue?.(0);
    return next;
  }

  /** Everybody, and the line is empty. */
  clear(): T[] {
    this.#positions.clear();
    return this.#waiting.splice(0);
  }

  /** Tells those who want to know where they stand now. */
  announce(served: readonly Waiter[]): void {
    if (!this.#waiting.some(({ onQueue }) => onQueue)) return;
    for (const [index, waiter] of this.#order(served, this.#waiting.length).entries()) {
      if (!waiter.onQueue || this.#positions.get(waiter) === index + 1) continue;
      this.#positions.set(waiter, index + 1);
      waiter.onQueue(index + 1);
    }
  }

  /** The next `count`, as if each got a slot in turn. */
  #order(served: readonly Waiter[], count: number): T[] {
    const having = new Map<string, number>();
    const has = ({ chat }: Waiter) => (chat === undefined ? 0 : (having.get(chat) ?? 0));
    const give = (waiter: Waiter) => {
      if (waiter.chat !== undefined) having.set(waiter.chat, has(waiter) + 1);
    };
    const last = ({ chat }: Waiter) => (chat === undefined ? 0 : (this.#lastTurn.peek(chat) ?? 0));
    for (const waiter of served) give(waiter);
    const left = [...this.#waiting];
    const order: T[] = [];
    while (order.length < count && left.length > 0) {
      const next = left.reduce((best, waiter) => {
        const before =
          best.priority - waiter.priority || has(waiter) - has(best) || last(waiter) - last(best);
        return before < 0 ? waiter : best;
      });
      left.splice(left.indexOf(next), 1);
      give(next);
      order.push(next);
    }
    return order;
  }
}
