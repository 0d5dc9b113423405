// The slots of a decoder whose graph hands back a longer copy of the keys and values that it was given. One spare memory is
// shared by all of them: a run reads a slot's and writes the spare one, then the two change places. It knows nothing of
// what the tokens are.

import type { Session } from "../runtime/session.ts";
import type { SlotPool } from "./decoder-backend.ts";
import { GrowingMemory } from "./growing-memory.ts";
import { GrowingSlot } from "./growing-slot.ts";
import type { KvPart } from "./kv-slabs.ts";

/** The slots of a decoder whose keys and values grow. */
export class GrowingSlots implements SlotPool {
  readonly count: number;
  readonly capacity: number;
  readonly #memories: readonly GrowingMemory[];
  readonly #free: GrowingMemory[];
  #spare: GrowingMemory;
  #turn: Promise<unknown> = Promise.resolve();

  constructor(session: Session, parts: readonly KvPart[], count: number, capacity: number) {
    this.count = count;
    this.capacity = capacity;
    this.#memories = Array.from(
      { length: count + 1 },
      () => new GrowingMemory(session, parts, capacity),
    );
    const [spare, ...free] = this.#memories as [GrowingMemory, ...GrowingMemory[]];
    this.#spare = spare;
    this.#free = free;
  }

  open(): GrowingSlot {
    // What was used last goes first: other memory stays untouched.
    const memory = this.#free.shift();
    if (!memory) throw new RangeError(`All ${this.count} slots are taken`);
    return new GrowingSlot(this, memory);
  }

  /** @internal Takes a slot's memory back. */
  close(memory: GrowingMemory): void {
    this.#free.unshift(memory);
  }

  /**
   * Work that writes the spare memory from another one; nobody else does at that time. Afterwards that other one is spare.
   *
   * @internal
   * @returns what was spare
   */
  exchange(
    memory: GrowingMemory,
    work: (spare: GrowingMemory) => Promise<void>,
  ): Promise<GrowingMemory> {
    const done = this.#turn.then(async () => {
      const written = this.#spare;
      await work(written);
      this.#spare = memory;
      return written;
    });
    this.#turn = done.catch(() => {});
    return done;
  }

  /** Gives the memory back, as soon as no run uses it. Calling it again is fine. */
  dispose(): void {
    for (const memory of this.#memories) memory.dispose();
  }
}
