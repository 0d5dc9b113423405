// Where the high scores of a vocabulary are: one look at all of them finds the best, and the highest of every few. What
// comes later in a step asks for scores of a certain height, and goes by all stretches that have none. In: the scores of one
// position. Out: the best id, and stretches of ids. It knows nothing of temperatures or of what is chosen.

import { InferenceError } from "../errors.ts";

/** Ids in a stretch: few enough that most have none of the highest, enough that there are not many. */
const STRETCH = 64;

/**
 * The scores are no numbers, and so may be whatever they were computed from: what is kept of it must not be used again.
 */
export class NoNumbersError extends InferenceError {
  constructor(message: string) {
    super("sampling", message);
  }
}

/** The scores of one step; used again for the next. */
export class HighScores {
  #scores: Float32Array = new Float32Array(0);
  #size = 0;
  #best = 0;
  /** The highest of each stretch. */
  #highest = new Float32Array(0);

  /** (vocab) */
  get scores(): Float32Array {
    return this.#scores;
  }

  /** Only ids below it count. */
  get size(): number {
    return this.#size;
  }

  /** Id of the highest score; of equals, the first. */
  get best(): number {
    return this.#best;
  }

  /**
   * Looks at the scores of a step, which are read until the next one.
   *
   * @throws {@link InferenceError} if they hold NaN or +Infinity, or nothing but -Infinity.
   */
  look(scores: Float32Array, size: number): void {
    this.#scores = scores;
    this.#size = size;
    const stretches = Math.ceil(size / STRETCH);
    if (this.#highest.length < stretches) this.#highest = new Float32Array(stretches);
    let [best, bestScore] = [-1, Number.NEGATIVE_INFINITY];
    for (let stretch = 0; stretch < stretches; stretch++) {
      const end = Math.min((stretch + 1) * STRETCH, size);
      let high = Number.NEGATIVE_INFINITY;
      let place = -1;
      for (let id = stretch * STRETCH; id < end; id++) {
        const score = scores[id]!;
        // One comparison for nearly all of them; NaN is never `<=`.
        if (score <= high) continue;
        if (Number.isNaN(score)) {
          throw new NoNumbersError(`The logits hold NaN, first at id ${id}.`);
        }
        high = score;
        place = id;
      }
      this.#highest[stretch] = high;
      if (high > bestScore) [best, bestScore] = [place, high];
    }
    const message = `The logits are no distribution: the highest is ${bestScore}.`;
    if (bestScore === Number.POSITIVE_INFINITY) throw new NoNumbersError(message);
    if (best === -1) throw new InferenceError("sampling", message);
    this.#best = best;
  }

  /**
   * The first stretch from id `from` on that has a score of at least `floor`.
   *
   * @returns its first id, not below `from`; the size when there is none
   */
  next(from: number, floor: number): number {
    const stretches = Math.ceil(this.#size / STRETCH);
    for (let stretch = Math.floor(from / STRETCH); stretch < stretches; stretch++) {
      if (this.#highest[stretch]! >= floor) return Math.max(from, stretch * STRETCH);
    }
    return this.#size;
  }

  /** Where the stretch of an id ends: behind its last id. */
  endOf(id: number): number {
    return Math.min((Math.floor(id / STRETCH) + 1) * STRETCH, this.#size);
  }
}
