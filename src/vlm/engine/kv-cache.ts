// The keys and values of one sequence, in a slot that may move: how many tokens there are, and who may append.
// It knows nothing of tokens; what is beyond `length` is of no meaning and never read.

import type { KvBlock } from "./decoder-backend.ts";
import type { KvSlots } from "./kv-slots.ts";
import type { BoundRows, LaneSlot } from "./lane-slots.ts";
import { expectCut, SlotUse } from "./slot-use.ts";

/** Keys and values copied out: for every part and every head the tokens one after the other. */
export interface PackedKv extends KvBlock {
  readonly bytes: Uint8Array;
  /** What levels of values stood for, (layers), where they are int8. */
  readonly scales?: Float32Array | undefined;
}

/** Keys and values of up to `capacity` tokens. One run at a time. */
export class KvCache implements LaneSlot {
  readonly slots: KvSlots;
  /** @internal Where it lies now; the slots change it. */
  row: number;
  parked = false;
  #length = 0;
  readonly #use = new SlotUse("The KV cache");

  /** @internal Use `KvSlots.open`. */
  constructor(slots: KvSlots, row: number) {
    this.slots = slots;
    this.row = row;
  }

  get capacity(): number {
    return this.slots.capacity;
  }

  get length(): number {
    return this.#length;
  }

  get disposed(): boolean {
    return this.#use.ended;
  }

  /** Its values, as long as it does not move. */
  get bound(): BoundRows {
    return this.slots.row(this.row);
  }

  truncate(length: number): void {
    expectCut(length, this.#length);
    this.#use.expectIdle();
    this.#length = length;
  }

  /** Forgets all tokens. */
  clear(): void {
    this.truncate(0);
  }

  async read(start: number, end: number): Promise<PackedKv> {
    if (start < 0 || start > end || end > this.#length) {
      throw new RangeError(`Expected a part of ${this.#length} tokens, got ${start} to ${end}`);
    }
    const release = this.occupy();
    try {
      return await this.slots.read(this.row, start, end);
    } finally {
      release();
    }
  }

  async append(block: PackedKv, tokens: number): Promise<void> {
    if (tokens > block.tokens || this.#length + tokens > this.capacity) {
      throw new RangeError(
        `Expected at most ${Math.min(block.tokens, this.capacity - this.#length)} tokens, got ${tokens}`,
      );
    }
    const release = this.occupy();
    try {
      await this.slots.write(this.row, this.#length, block, tokens);
      this.#length += tokens;
    } finally {
      release();
    }
  }

  /**
   * Keeps others out until it is released.
   *
   * @internal
   */
  occupy(): () => void {
    return this.#use.occupy();
  }

  /**
   * Counts tokens that a run has appended.
   *
   * @internal
   */
  grow(tokens: number): void {
    this.#length += tokens;
  }

  /** Gives the slot to others. Calling it again is fine. */
  dispose(): void {
    if (this.#use.end()) this.slots.close(this);
  }

  [Symbol.dispose](): void {
    this.dispose();
  }
}
