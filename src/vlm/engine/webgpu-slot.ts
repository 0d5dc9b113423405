// The place of one sequence on WebGPU: how many tokens there are, how many of them lie in its row, and who may append.
// Where the others lie is the business of its slots.

import { DisposedError } from "../errors.ts";
import type { LaneSlot } from "./lane-slots.ts";
import type { WebGpuBlock } from "./webgpu-block.ts";
import type { WebGpuSlots } from "./webgpu-slots.ts";

/** One run at a time. */
export class WebGpuSlot implements LaneSlot {
  readonly slots: WebGpuSlots;
  readonly row: number;
  parked = false;
  #length = 0;
  #settled = 0;
  #busy = false;
  #disposed = false;

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
    return this.#disposed;
  }

  truncate(length: number): void {
    if (!Number.isSafeInteger(length) || length < 0 || length > this.#length) {
      throw new RangeError(
        `Expected \`length\` to be an integer from 0 to ${this.#length}, got \`${length}\``,
      );
    }
    this.#refuseIfBusy();
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
    if (this.#disposed) throw new DisposedError("The KV slot");
    this.#refuseIfBusy();
    this.#busy = true;
    return () => {
      this.#busy = false;
    };
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
    if (this.#disposed) return;
    this.#disposed = true;
    this.slots.close(this);
  }

  [Symbol.dispose](): void {
    this.dispose();
  }

  #refuseIfBusy(): void {
    if (this.#busy) throw new Error("The KV slot is in use by another run");
  }
}
