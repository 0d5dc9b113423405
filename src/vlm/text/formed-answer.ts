// The form of an answer while it is written: when it counts, which tokens may come, and its shortest end where the room
// runs out. In: tokens as they are chosen. Out: masks and tokens that are due. It knows no logits and no text.

import type { Constraint } from "../constrain/constraint.ts";
import type { TokenMask } from "../constrain/local-mask.ts";

export interface FormedAnswerOptions {
  /** Left out: any answer will do. */
  readonly constraint?: Constraint | undefined;
  /** May come in place of the answer: it opens a call of a tool. */
  readonly callId: number | undefined;
  /** Comes behind it and ends the answer: it closes a call. */
  readonly closingId?: number | undefined;
  /** Tokens between a thought and the answer, as the chat template writes them. */
  readonly afterThought: readonly number[];
}

/** Ends an answer before its room does, and in its form. */
export class FormedAnswer {
  readonly #constraint: Constraint | undefined;
  readonly #callId: number | undefined;
  readonly #closing: readonly number[];
  readonly #afterThought: readonly number[];
  #due: readonly number[] = [];
  /** What comes now is none of its business: the model calls a tool instead. */
  #called = false;
  #closed = false;
  #ending = false;
  /** There was never room for it. */
  #hopeless = false;

  constructor({ constraint, callId, closingId, afterThought }: FormedAnswerOptions) {
    this.#constraint = constraint;
    this.#callId = callId;
    this.#closing = closingId === undefined ? [] : [closingId];
    this.#afterThought = afterThought;
  }

  /** The answer has a form to keep. */
  get on(): boolean {
    return this.#constraint !== undefined && !this.#called;
  }

  /** Only for {@link on}: all tokens that may come. */
  get mask(): TokenMask | undefined {
    if (!this.on) return undefined;
    const { mask, untouched } = this.#constraint!;
    if (this.#callId === undefined || !untouched) return mask;
    const wider = mask.slice();
    const word = this.#callId >>> 5;
    wider[word] = (wider[word] ?? 0) | (1 << (this.#callId & 31));
    return wider;
  }

  /** Finds {@link mask} without holding anybody up. Undefined: it is there, or none is needed. */
  prepare(): Promise<void> | undefined {
    return this.on ? this.#constraint!.prepare() : undefined;
  }

  get due(): number | undefined {
    return this.#due[0];
  }

  /** The answer has its form and is to be over. */
  get done(): boolean {
    if (this.#closed || this.#ending) return this.#due.length === 0;
    return this.on && this.#due.length === 0 && this.#constraint!.ended;
  }

  /** It was ended in the shortest way. */
  get ending(): boolean {
    return this.#ending;
  }

  /** What was written so far has not the form. */
  get incomplete(): boolean {
    return this.on && !this.#constraint!.whole;
  }

  /** A thought has ended: the answer follows. */
  begin(): void {
    if (this.on) this.#due = this.#afterThought;
  }

  /** The token to take instead of a chosen one, for which there must be room to end the answer. */
  settle(id: number, endIds: ReadonlySet<number>, room: number): number {
    if (!this.on || this.#hopeless || endIds.has(id) || id === this.#callId) return id;
    const constraint = this.#constraint!;
    if (constraint.leavesRoom(id, room - 1 - this.#closing.length)) return id;
    this.#hopeless = !this.endWithin(room);
    // Nothing is missing where there is no end to write: the answer is over.
    if (this.#ending && this.#due.length === 0) return [...endIds][0] ?? id;
    return this.#due[0] ?? id;
  }

  /** Lets the shortest end come. @returns false where it has more tokens than may come */
  endWithin(room: number): boolean {
    if (!this.on) return false;
    const ending = [...this.#constraint!.ending(), ...this.#closing];
    if (ending.length > room) return false;
    this.#ending = true;
    this.#due = ending;
    return true;
  }

  /** A token of the answer has come. */
  take(id: number): void {
    const wasDue = id === this.#due[0];
    if (wasDue) this.#due = this.#due.slice(1);
    if (!this.on) return;
    if (id === this.#closing[0] && this.#constraint!.ended) this.#closed = true;
    else if (id === this.#callId && this.#constraint!.untouched) this.#called = true;
    // What stands in front of the answer is none of it.
    else if (!wasDue || this.#ending) this.#constraint!.accept(id);
    const closes = this.on && !this.#ending && !this.#closed && this.#constraint!.ended;
    if (closes) this.#due = this.#closing;
  }
}
