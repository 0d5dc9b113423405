// One answer that must have a form: which tokens may come, where it stands, and how it can still be ended in time.
// In: tokens. Out: masks, and the tokens of the shortest end. It knows no logits and shows no text.

import type { GrammarState, GrammarStates } from "./grammar-states.ts";
import { allow, type TokenMask } from "./local-mask.ts";
import type { TokenMasks } from "./token-masks.ts";
import { TooComplexError, tooComplex } from "./too-complex.ts";

export interface ConstraintParts {
  readonly states: GrammarStates;
  readonly masks: TokenMasks;
  readonly bytesOf: (id: number) => Uint8Array;
  /** Those that end an answer; they may come only where it is whole. */
  readonly endIds: ReadonlySet<number>;
}

/** The form of one answer, as far as it has come. */
export class Constraint {
  readonly #parts: ConstraintParts;
  #state: GrammarState;
  #mask: TokenMask | undefined;

  constructor(parts: ConstraintParts) {
    this.#parts = parts;
    this.#state = parts.states.start;
  }

  /** Nothing has come yet. */
  get untouched(): boolean {
    return this.#state === this.#parts.states.start;
  }

  /** The answer may end here. */
  get whole(): boolean {
    return this.#state.whole;
  }

  /** The answer is whole and nothing may follow. */
  get ended(): boolean {
    return this.whole && this.#tokens.every((word) => word === 0);
  }

  /** Tokens that may come, those that end an answer included. Valid until the next token. @throws ResponseFormatError */
  get mask(): TokenMask {
    if (this.#mask) return this.#mask;
    let mask = this.#tokens;
    if (this.whole) {
      mask = mask.slice();
      for (const id of this.#parts.endIds) allow(mask, id);
    }
    this.#mask = mask;
    return mask;
  }

  /** A token of text has come. @throws Error if it must not */
  accept(id: number): void {
    this.#state = this.#after(id);
    this.#mask = undefined;
  }

  /** Tokens of the shortest end. */
  ending(): readonly number[] {
    return this.#endingOf(this.#state);
  }

  /** May this token come, and can the answer still be ended with so many tokens after it? */
  leavesRoom(id: number, tokens: number): boolean {
    const after = this.#after(id);
    // No end has more tokens than bytes.
    return after.distance <= tokens || this.#endingOf(after).length <= tokens;
  }

  get #tokens(): TokenMask {
    return reported(() => this.#parts.masks.of(this.#state, this.#parts.states));
  }

  #endingOf(state: GrammarState): readonly number[] {
    const { masks, states } = this.#parts;
    return reported(() => masks.trie.spell(states.completion(state)));
  }

  #after(id: number): GrammarState {
    const { states, bytesOf } = this.#parts;
    return reported(() => {
      let state = this.#state;
      for (const byte of bytesOf(id)) {
        const next = states.next(state, byte);
        if (!next) throw new RangeError("This token cannot come here");
        state = next;
      }
      return state;
    });
  }
}

/** What is too much for one answer is told as the caller knows it. @throws ResponseFormatError */
function reported<T>(work: () => T): T {
  try {
    return work();
  } catch (error) {
    throw error instanceof TooComplexError ? tooComplex(error) : error;
  }
}
