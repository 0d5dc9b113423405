// The keys and values of one sequence in a memory that is laid out anew by every run. Blocks that are appended wait
// until somebody needs them laid out: a whole prefix of blocks is copied once, not once for each. It knows nothing of
// tokens; what is beyond `length` is never read.

import { TimeSlice } from "../event-loop/time-slice.ts";
import type { NamedValues } from "../runtime/session.ts";
import type { KvSlot } from "./decoder-backend.ts";
import {
  type GrowingMemory,
  layOut,
  type PackedBlock,
  type PackedTokens,
} from "./growing-memory.ts";
import type { GrowingSlots } from "./growing-slots.ts";
import { expectCut, SlotUse } from "./slot-use.ts";

/** Keys and values of up to `capacity` tokens. One run at a time. */
export class GrowingSlot implements KvSlot {
  readonly #slots: GrowingSlots;
  #memory: GrowingMemory;
  parked = false;
  /** Tokens that the memory is laid out for. */
  #laid = 0;
  /** How many of them count. */
  #kept = 0;
  /** What comes after those. */
  #blocks: PackedTokens[] = [];
  readonly #use = new SlotUse("The slot");

  /** @internal Use `GrowingSlots.open`. */
  constructor(slots: GrowingSlots, memory: GrowingMemory) {
    this.#slots = slots;
    this.#memory = memory;
  }

  get capacity(): number {
    return this.#slots.capacity;
  }

  get length(): number {
    return this.#blocks.reduce((sum, { tokens }) => sum + tokens, this.#kept);
  }

  get disposed(): boolean {
    return this.#use.ended;
  }

  truncate(length: number): void {
    expectCut(length, this.length);
    this.#expectIdle();
    let over = this.length - length;
    while (over > 0 && this.#blocks.length > 0) {
      const { block, tokens } = this.#blocks.pop()!;
      if (tokens > over) this.#blocks.push({ block, tokens: tokens - over });
      over -= Math.min(tokens, over);
    }
    this.#kept -= over;
  }

  async read(start: number, end: number): Promise<PackedBlock> {
    if (start < 0 || start > end || end > this.length) {
      throw new RangeError(`Expected a part of ${this.length} tokens, got ${start} to ${end}`);
    }
    return this.#alone(async () => {
      await this.#lay();
      const tokens = end - start;
      const { parts } = this.#memory;
      const bytes = new Uint8Array(
        parts.reduce((sum, { heads, tokenBytes }) => sum + heads * tokens * tokenBytes, 0),
      );
      const slice = new TimeSlice();
      let offset = 0;
      for (const { value, heads, tokenBytes } of parts) {
        if (slice.over) await slice.rest();
        const pieces = {
          first: start * tokenBytes,
          stride: this.#laid * tokenBytes,
          count: heads,
          byteLength: tokens * tokenBytes,
        };
        await value.readPieces(pieces, bytes, offset);
        offset += heads * tokens * tokenBytes;
      }
      return { tokens, byteLength: bytes.byteLength, bytes };
    });
  }

  async append(block: PackedBlock, tokens: number): Promise<void> {
    const most = Math.min(block.tokens, this.capacity - this.length);
    if (tokens > most) throw new RangeError(`Expected at most ${most} tokens, got ${tokens}`);
    this.#expectIdle();
    if (tokens > 0) this.#blocks.push({ block, tokens });
  }

  /**
   * A run that appends tokens. When it fails, the slot is as before.
   *
   * @internal
   * @param work is given what to bind to the inputs `past_key_values.*` and to the outputs `present.*`
   */
  async grow(
    tokens: number,
    work: (past: NamedValues, present: NamedValues) => Promise<void>,
  ): Promise<void> {
    const { length, capacity } = this;
    if (length + tokens > capacity) {
      throw new RangeError(
        `The slot holds ${length} of ${capacity} tokens: ${tokens} more do not fit`,
      );
    }
    await this.#alone(async () => {
      await this.#lay();
      this.#memory = await this.#slots.exchange(this.#memory, async (spare) => {
        const past = this.#memory.view("past_key_values.", length);
        const present = spare.view("present.", length + tokens);
        try {
          await work(past, present);
        } finally {
          for (const value of Object.values({ ...past, ...present })) value.dispose();
        }
      });
      this.#laid = length + tokens;
      this.#kept = this.#laid;
    });
  }

  dispose(): void {
    if (this.#use.end() && !this.#use.busy) this.#slots.close(this.#memory);
  }

  /** Everything in the memory, closely. */
  async #lay(): Promise<void> {
    const { length } = this;
    if (this.#laid === length && this.#blocks.length === 0) return;
    const state = { laid: this.#laid, kept: this.#kept, blocks: this.#blocks };
    this.#memory = await this.#slots.exchange(this.#memory, (spare) =>
      layOut(this.#memory, spare, state),
    );
    [this.#laid, this.#kept, this.#blocks] = [length, length, []];
  }

  /** Keeps others out; whoever disposed of the slot meanwhile gives the place back only now. */
  async #alone<T>(work: () => Promise<T>): Promise<T> {
    const release = this.#use.occupy();
    try {
      return await work();
    } finally {
      release();
      if (this.#use.ended) this.#slots.close(this.#memory);
    }
  }

  #expectIdle(): void {
    this.#use.expectOpen();
    this.#use.expectIdle();
  }
}
