// The keys and values of one conversation: memory of fixed capacity that the decoder appends to in place.
// It lies where the decoder computes, and pages that no token has reached are not there yet.
// It knows nothing of tokens; what is beyond `length` is of no meaning and never read.

import { DisposedError } from "../errors.ts";
import type { NamedValues, Session } from "../runtime/session.ts";
import { type ElementType, elementCount, type Value } from "../runtime/value.ts";

/** Sizes of the cache of one token; `Qwen3VlConfig["text"]` has them. */
export interface KvShape {
  readonly layers: number;
  readonly kvHeads: number;
  readonly headSize: number;
}

/** Keys and values of up to `capacity` tokens. One run at a time. */
export class KvCache {
  /** Most tokens that fit. */
  readonly capacity: number;
  /** Memory when every token is filled. */
  readonly byteLength: number;
  /** The graph's inputs `past_key_values.L.key` / `.value`. */
  readonly past: NamedValues;
  /** The graph's outputs `present.L.key` / `.value`: the same values. */
  readonly present: NamedValues;
  readonly #block: Value;
  readonly #parts: readonly Value[];
  readonly #onDispose: (() => void)[] = [];
  #length = 0;
  #busy = false;
  #disposed = false;

  /** Reserves the memory on the device of a session. */
  constructor(session: Session, shape: KvShape, capacity: number) {
    if (!Number.isSafeInteger(capacity) || capacity < 1) {
      throw new RangeError(`Expected \`capacity\` to be an integer >= 1, got \`${capacity}\``);
    }
    const dims = [1, shape.kvHeads, capacity, shape.headSize]; // (1, kv heads, capacity, head size)
    const size = elementCount(dims);
    // One block for all layers: large enough that its memory goes back to the system when it ends.
    this.#block = session.allocate(ELEMENT, [2 * shape.layers * size]);
    const past: Record<string, Value> = {};
    const present: Record<string, Value> = {};
    for (let layer = 0; layer < shape.layers; layer++) {
      for (const [index, part] of ["key", "value"].entries()) {
        const value = this.#block.slice((2 * layer + index) * size, dims);
        past[`past_key_values.${layer}.${part}`] = value;
        present[`present.${layer}.${part}`] = value;
      }
    }
    this.#parts = Object.values(past);
    this.capacity = capacity;
    this.byteLength = this.#block.byteLength;
    this.past = past;
    this.present = present;
  }

  /** Tokens that the cache holds. */
  get length(): number {
    return this.#length;
  }

  get disposed(): boolean {
    return this.#disposed;
  }

  /** Forgets all tokens from `length` on. */
  truncate(length: number): void {
    if (!Number.isSafeInteger(length) || length < 0 || length > this.#length) {
      throw new RangeError(
        `Expected \`length\` to be an integer from 0 to ${this.#length}, got \`${length}\``,
      );
    }
    this.#refuseIfBusy();
    this.#length = length;
  }

  /** Forgets all tokens. */
  clear(): void {
    this.truncate(0);
  }

  /**
   * Keeps others out while `work` appends tokens.
   *
   * @internal
   */
  async fill<T>(work: (append: (tokens: number) => void) => Promise<T>): Promise<T> {
    if (this.#disposed) throw new DisposedError("The KV cache");
    this.#refuseIfBusy();
    this.#busy = true;
    try {
      return await work((tokens) => {
        this.#length += tokens;
      });
    } finally {
      this.#busy = false;
    }
  }

  /**
   * What else ends with the cache.
   *
   * @internal
   */
  onDispose(callback: () => void): void {
    this.#onDispose.push(callback);
  }

  /** Gives the memory back, as soon as no run uses it. Calling it again is fine. */
  dispose(): void {
    if (this.#disposed) return;
    this.#disposed = true;
    for (const part of this.#parts) part.dispose();
    this.#block.dispose();
    for (const callback of this.#onDispose) callback();
  }

  [Symbol.dispose](): void {
    this.dispose();
  }

  #refuseIfBusy(): void {
    if (this.#busy) throw new Error("The KV cache is in use by another run");
  }
}

const ELEMENT: ElementType = "f32";
