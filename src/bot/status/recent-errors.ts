// The errors of the last while, for whoever looks. In: errors. Out: when, where and what kind, never what was said.

import { describeError } from "../errors.ts";

export interface RecentError {
  /** Milliseconds since 1970. */
  readonly atMs: number;
  /** Such as `group:123`. */
  readonly chat: string;
  readonly error: string;
}

const MAX_ERRORS = 20;

/** Keeps the latest, newest first. */
export class RecentErrors {
  readonly #errors: RecentError[] = [];

  add(chat: string, error: unknown): void {
    this.#errors.unshift({ atMs: Date.now(), chat, error: describeError(error) });
    this.#errors.length = Math.min(this.#errors.length, MAX_ERRORS);
  }

  get list(): readonly RecentError[] {
    return [...this.#errors];
  }
}
