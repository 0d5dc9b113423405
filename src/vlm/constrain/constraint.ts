// One answer that must have a form: which tokens may come, where it stands, and how it can still be ended in time.
// In: tokens. Out: masks, and the tokens of the shortest end. It knows no logits and shows no text.

import type { GrammarState, GrammarStates } from "./grammar-states.ts";
import { allow, type TokenMask } from "./local-mask.ts";
import type { StepLane } from "./step-lane.ts";
import { limited } from "./steps.ts";
import type { TokenMasks } from "./token-masks.ts";
import { TooComplexError, tooComplex } from "./too-complex.ts";

export interface ConstraintParts {
  readonly states: GrammarStates;
  readonly masks: TokenMasks;
  readonly lane: StepLane;
  readonly bytesOf: (id: number) => Uint8Array;
  /** Those that end an answer; they may come only where it is whole. */
  readonly endIds: ReadonlySet<number>;
  /** Nobody waits for the answer any more. */
  readonly signal?: AbortSignal | undefined;
}

/** Pauses of one mask: a second or so. */
const MOST_STEPS = 5_000;

/** The form of one answer, as far as it has come. */
export class Constraint {
  readonly #parts: ConstraintParts;
  #state: GrammarState;
  #mask: TokenMask | undefined;
  /** Why there is no mask. */
  #failure: unknown;
  #search: Promise<void> | undefined;

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
    return this.whole && reported(() => this.#parts.states.over(this.#state));
  }

  /**
   * Tokens that may come, those that end an answer included. Valid until the next token. Found at once where
   * {@link prepare} has not found it.
   *
   * @throws ResponseFormatError
   */
  get mask(): TokenMask {
    if (this.#failure !== undefined) throw this.#failure;
    const { masks, states } = this.#parts;
    this.#mask ??= this.#withEnds(reported(() => masks.of(this.#state, states)));
    return this.#mask;
  }

  /** Finds {@link mask} without holding anybody up. Undefined: it is there. Never rejects: `mask` says what is wrong. */
  prepare(): Promise<void> | undefined {
    if (this.#mask || this.#failure !== undefined) return undefined;
    const known = this.#parts.masks.known(this.#state);
    if (!known) this.#search ??= this.#find(this.#state);
    else this.#mask = this.#withEnds(known);
    return this.#mask ? undefined : this.#search;
  }

  /** A token of text has come. @throws Error if it must not */
  accept(id: number): void {
    this.#state = this.#after(id);
    this.#mask = undefined;
    this.#search = undefined;
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

  async #find(state: GrammarState): Promise<void> {
    const { masks, states, lane, signal } = this.#parts;
    const search = limited(
      masks.find(state, states),
      MOST_STEPS,
      "its tokens take too long to find",
    );
    try {
      const found = await lane.run(search, { urgent: true, signal });
      if (this.#state === state) this.#mask = this.#withEnds(found);
    } catch (error) {
      if (this.#state === state) this.#failure = inItsForm(error);
    }
  }

  #withEnds(tokens: TokenMask): TokenMask {
    if (!this.whole) return tokens;
    const mask = tokens.slice();
    for (const id of this.#parts.endIds) allow(mask, id);
    return mask;
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
    throw inItsForm(error);
  }
}

function inItsForm(error: unknown): unknown {
  return error instanceof TooComplexError ? tooComplex(error) : error;
}
