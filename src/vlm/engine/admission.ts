// Who has a slot, and who waits for one: requests first, and work ahead of time only when there are none. In: sequences.
// Out: the next one that gets a slot, which may hold the beginning of its prompt already. What is computed in slots, and
// in which order, is the business of the loop.

import type { KvSlot, SlotPool } from "./decoder-backend.ts";
import { IdleSlots } from "./idle-slots.ts";
import type { Forgettable } from "./prefix-blocks.ts";
import type { PrefixCache } from "./prefix-cache.ts";
import type { Sequence } from "./sequence.ts";
import { WaitingLine } from "./waiting-line.ts";

export interface AdmissionOptions {
  readonly slots: SlotPool;
  readonly prefixes: Pick<PrefixCache, "enabled">;
  /** Requests that may wait for a slot. */
  readonly maxQueue: number;
}

/** The slots of an engine, and the line in front of them. */
export class Admission {
  /** Sequences that have a slot. */
  readonly running: ReadonlySet<Sequence>;
  readonly #options: AdmissionOptions;
  readonly #running = new Set<Sequence>();
  readonly #line: WaitingLine<Sequence>;
  /** Those who compute ahead of time wait apart: they are nobody's business. */
  readonly #aheadLine: WaitingLine<Sequence>;
  readonly #idle = new IdleSlots();

  constructor(options: AdmissionOptions) {
    this.#options = options;
    this.running = this.#running;
    this.#line = new WaitingLine(options.maxQueue);
    this.#aheadLine = new WaitingLine(Math.max(1, options.maxQueue));
  }

  /** Does anybody run or wait who does not compute ahead of time? */
  get anyReal(): boolean {
    return this.#line.length > 0 || [...this.#running].some(({ ahead }) => !ahead);
  }

  /** Can somebody who waits have a slot now? */
  get nextFits(): boolean {
    if (this.#line.length > 0) return this.#free > 0;
    return this.#aheadLine.length > 0 && this.#running.size === 0;
  }

  /** @throws QueueFullError when one that came now would be refused */
  expectRoom(ahead = false): void {
    (ahead ? this.#aheadLine : this.#line).expectRoom(ahead ? 0 : this.#free);
  }

  /** Joins those who wait. */
  add(sequence: Sequence): void {
    this.#lineOf(sequence).add(sequence);
  }

  /** Leaves before it has a slot. */
  remove(sequence: Sequence): boolean {
    return this.#lineOf(sequence).remove(sequence);
  }

  /** The next one, with a slot. */
  take(): Sequence | undefined {
    if (!this.nextFits) return undefined;
    const line = this.#line.length > 0 ? this.#line : this.#aheadLine;
    if (this.#running.size >= this.#options.slots.count) this.#putBack();
    const sequence = line.take([...this.#running]);
    if (!sequence) return undefined;
    this.#running.add(sequence);
    sequence.slot = this.#slotFor(sequence);
    return sequence;
  }

  /** Tells those who wait where they stand. */
  announce(): void {
    this.#line.announce([...this.#running]);
  }

  /** Its slot stays as it is for whoever goes on from there, unless that must not be. */
  leave(sequence: Sequence): void {
    const { slot, content, chat, forgotten, suspect } = sequence;
    sequence.slot = undefined;
    this.#running.delete(sequence);
    if (!slot || slot.disposed) return;
    if (suspect) slot.spoil?.();
    if (forgotten || !this.#options.prefixes.enabled) slot.dispose();
    else this.#idle.keep(slot, content, chat);
  }

  /** What was asked before is not kept later, either. */
  forget(what: Forgettable): void {
    const coming = [...this.#line.waiting, ...this.#aheadLine.waiting];
    for (const sequence of [...this.#running, ...coming]) {
      const { chat, pictures } = sequence;
      const seen = pictures.some(({ key }) => what.picture?.(key));
      if (seen || (what.chat !== undefined && chat === what.chat)) sequence.forgotten = true;
    }
    this.#idle.forget(what);
  }

  /** Nobody goes on from what is being computed, or lies idle. */
  distrust(): void {
    for (const sequence of this.#running) {
      sequence.forgotten = true;
      sequence.suspect = true;
    }
    this.#idle.clear();
  }

  /** Sends everybody away who waits. */
  dismissWaiting(why: Error): void {
    for (const sequence of [...this.#line.clear(), ...this.#aheadLine.clear()]) {
      sequence.end({ error: why });
    }
  }

  /** Gives back what lies idle. */
  clear(): void {
    this.#idle.clear();
  }

  /** Slots that are free, or would be if nobody computed ahead of time. */
  get #free(): number {
    const real = [...this.#running].filter(({ ahead }) => !ahead);
    return this.#options.slots.count - real.length;
  }

  #lineOf({ ahead }: Sequence): WaitingLine<Sequence> {
    return ahead ? this.#aheadLine : this.#line;
  }

  /** Work for later gives its slot up. What it has computed is in the cache. */
  #putBack(): void {
    const sequence = [...this.#running].find(({ ahead }) => ahead);
    if (!sequence) return;
    this.leave(sequence);
    sequence.stage = "queued";
    // Whoever was aborted meanwhile would not be told again in the line.
    if (sequence.signal.aborted) sequence.end({ error: sequence.signal.reason });
    else this.#aheadLine.add(sequence);
  }

  /** One that holds the beginning of the prompt already, or an empty one. */
  #slotFor(sequence: Sequence): KvSlot {
    const idle = this.#idle.take(sequence.content, sequence.ids.length - 1);
    if (idle) {
      sequence.reusedTokens += idle.length;
      return idle;
    }
    const { slots } = this.#options;
    if (this.#running.size + this.#idle.count > slots.count) this.#idle.drop();
    return slots.open();
  }
}
