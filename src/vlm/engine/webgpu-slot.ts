// The place of one sequence on WebGPU: how many tokens there are, how many of them lie in its row, and who may append.
// Where the others lie is the business of its slots.

import type { LaneSlot } from "./lane-slots.ts";
import { expectCut, SlotUse } from "./slot-use.ts";
import type { WebGpuBlock } from "./webgpu-block.ts";
import type { WebGpuSlots } from "./webgpu-slots.ts";

/** One run at a time. */
export class WebGpuSlot implements LaneSlot {
  readonly slots: WebGpuSlots;
  readonly row: number;
  parked = false;
  #length = 0;
  #settled = 0;
  readonly #use = new SlotUse("The KV slot");

  /** @internal Use `WebGpuSlots.open`. */
  constructor(slots: WebGpuSlots, row: number) {
    this.slots = slots;
    this.row = row;
  }

  get capacity(): number {
    return this.slots.capacity;
  }

  get length(): number {
    return this.#length;
  }

  /** Tokens that lie in its row, whether or not it is at the desk. */
  get settled(): number {
    return this.#settled;
  }

  get disposed(): boolean {
    return this.#use.ended;
  }

  truncate(length: number): void {
    expectCut(length, this.#length);
    this.#use.expectIdle();
    this.#length = length;
    this.#settled = Math.min(this.#settled, length);
  }

  async read(start: number, end: number): Promise<WebGpuBlock> {
    if (start < 0 || start >= end || end > this.#length) {
      throw new RangeError(`Expected a part of ${this.#length} tokens, got ${start} to ${end}`);
    }
    const release = this.occupy();
    try {
      return await this.slots.read(this, start, end);
    } finally {
      release();
    }
  }

  async append(block: WebGpuBlock, tokens: number): Promise<void> {
    if (tokens > block.tokens || this.#length + tokens > this.capacity) {
      throw new RangeError(
        `Expected at most ${Math.min(block.tokens, this.capacity - this.#length)} tokens, got ${tokens}`,
      );
    }
    const release = this.occupy();
    try {
      await this.slots.write(this, block, tokens);
      this.grow(tokens);
    } finally {
      release();
    }
  }

  occupy(): () => void {
    return this.#use.occupy();
  }

  grow(tokens: number): void {
    this.#length += tokens;
    if (!this.slots.isAtDesk(this)) this.settle();
  }

  /** @internal All its tokens lie in its row. */
  settle(): void {
    this.#settled = this.#length;
  }

  dispose(): void {
    if (this.#use.end()) this.slots.close(this);
  }

  [Symbol.dispose](): void {
    this.dispose();
  }
}
