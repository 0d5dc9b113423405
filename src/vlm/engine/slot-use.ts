// Who uses a slot: one run at a time, and nobody after its end. Every kind of slot has one. It knows nothing of tokens,
// but for what a slot may be cut to.

import { DisposedError } from "../errors.ts";

/** The use of one slot. */
export class SlotUse {
  /** In errors, such as "The KV slot". */
  readonly #what: string;
  #busy = false;
  #ended = false;

  constructor(what: string) {
    this.#what = what;
  }

  get busy(): boolean {
    return this.#busy;
  }

  get ended(): boolean {
    return this.#ended;
  }

  /** @throws Error while a run uses the slot */
  expectIdle(): void {
    if (this.#busy) throw new Error(`${this.#what} is in use by another run`);
  }

  /** @throws DisposedError after its end */
  expectOpen(): void {
    if (this.#ended) throw new DisposedError(this.#what);
  }

  /**
   * Keeps others out until it is released.
   *
   * @throws DisposedError after its end; Error while a run uses the slot
   */
  occupy(): () => void {
    this.expectOpen();
    this.expectIdle();
    this.#busy = true;
    return () => {
      this.#busy = false;
    };
  }

  /** @returns false when it has ended before */
  end(): boolean {
    const first = !this.#ended;
    this.#ended = true;
    return first;
  }
}

/** @throws RangeError unless a slot of so many tokens can be cut to this length */
export function expectCut(length: number, tokens: number): void {
  if (Number.isSafeInteger(length) && length >= 0 && length <= tokens) return;
  throw new RangeError(
    `Expected \`length\` to be an integer from 0 to ${tokens}, got \`${length}\``,
  );
}
