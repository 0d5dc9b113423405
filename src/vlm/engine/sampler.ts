// Chooses the next token, in the order and with the definitions of the reference (spec 7):
// repetition penalty, presence and frequency penalty, temperature, top-k, top-p, min-p, then one draw.
// In: the logits of one position. Out: one id. It knows no tokens, no text and no stop conditions.

import { allows, type TokenMask } from "../constrain/local-mask.ts";
import type { SamplingOptions } from "../vision-language-model.ts";
import { Candidates } from "./candidates.ts";
import type { TopScores } from "./decoder-backend.ts";
import { HighScores } from "./high-scores.ts";
import { Random } from "./random.ts";

/** Below this, dividing by the temperature leaves the range of float32; the likeliest token wins anyway. */
const GREEDY_BELOW_TEMPERATURE = 1e-6;

/** Samples the tokens of one answer. Its buffers are used again for every step. */
export class Sampler {
  readonly #sampling: Required<SamplingOptions>;
  readonly #vocabSize: number;
  readonly #random: Random;
  readonly #greedy: boolean;
  /** Ids of prompt and answer; left empty without a repetition penalty. */
  readonly #seen = new Set<number>();
  /** Ids of the answer, and how often each is in it; left empty without a penalty that asks for them. */
  readonly #generated = new Map<number, number>();
  /** (vocab) logits after penalties; empty without any. */
  readonly #penalised: Float32Array;
  /** (vocab) logits of tokens that may come; made when it is first needed. */
  #masked: Float32Array | undefined;
  readonly #high = new HighScores();
  readonly #candidates = new Candidates(this.#high);

  /**
   * @param vocabSize Ids from here on are never chosen, even if the logits have rows for them.
   * @param promptIds The whole prompt, image tokens included.
   */
  constructor(sampling: Required<SamplingOptions>, vocabSize: number, promptIds: Iterable<number>) {
    this.#sampling = sampling;
    this.#vocabSize = vocabSize;
    this.#random = new Random(sampling.seed);
    this.#greedy = sampling.temperature < GREEDY_BELOW_TEMPERATURE;
    const penalises = sampling.repetitionPenalty !== 1 || this.#countsAnswer;
    this.#penalised = new Float32Array(penalises ? vocabSize : 0);
    if (sampling.repetitionPenalty !== 1) for (const id of promptIds) this.#seen.add(id);
  }

  /**
   * Chooses the next token. The logits are left as they are.
   * @param logits (vocab) of the last position.
   * @param mask only its tokens are chosen among; left out: all
   * @throws {@link InferenceError} if they hold NaN or +Infinity, or nothing but -Infinity.
   */
  sample(logits: Float32Array, mask?: TokenMask): number {
    const best = this.#narrow(mask ? this.#allowed(logits, mask) : logits, (id) => id);
    return this.#greedy ? best : this.#candidates.draw(this.#random.next());
  }

  /**
   * Chooses the next token from the highest logits alone, exactly as from all of them.
   *
   * @returns undefined when they are not enough to know: then {@link sample} must see all. Nothing was drawn.
   * @throws {@link InferenceError} as `sample` does.
   */
  sampleTop(top: TopScores, mask?: TokenMask): number | undefined {
    const { topK, repetitionPenalty, presencePenalty, frequencyPenalty } = this.#sampling;
    // Penalties that lift scores could lift any; a cut by probability alone needs the sum over all.
    if (repetitionPenalty < 1 || presencePenalty < 0 || frequencyPenalty < 0) return undefined;
    if (!this.#greedy && topK === 0) return undefined;
    const known = top.ids
      .map((id, index) => ({ id, score: top.scores[index]! }))
      .filter(({ id }) => id < this.#vocabSize && (!mask || allows(mask, id)))
      .sort((a, b) => a.id - b.id);
    const ids = known.map(({ id }) => id);
    const scores = Float32Array.from(known, ({ score }) => score);
    const penalised = this.#penalise(scores, scores.length, (id) => ids.indexOf(id));
    // Whatever is not here is at most as high as the lowest that is, and penalties only lower it.
    const lowest = top.scores[top.scores.length - 1]!;
    const wanted = this.#greedy ? 1 : topK;
    const above = penalised.subarray(0, ids.length).filter((score) => score > lowest).length;
    if (above < wanted) return undefined;
    const best = this.#narrow(scores, (id) => ids.indexOf(id));
    return ids[this.#greedy ? best : this.#candidates.draw(this.#random.next())]!;
  }

  /** Tells the sampler which token the answer went on with. */
  accept(id: number): void {
    if (this.#sampling.repetitionPenalty !== 1) this.#seen.add(id);
    if (this.#countsAnswer) this.#generated.set(id, (this.#generated.get(id) ?? 0) + 1);
  }

  get #countsAnswer(): boolean {
    return this.#sampling.presencePenalty !== 0 || this.#sampling.frequencyPenalty !== 0;
  }

  /** Probability of each token that `sample` would choose among. Draws nothing. */
  distribution(logits: Float32Array): ReadonlyMap<number, number> {
    const best = this.#narrow(logits, (id) => id);
    return this.#greedy ? new Map([[best, 1]]) : this.#candidates.probabilities();
  }

  /** The logits, -Infinity for tokens that may not come. */
  #allowed(logits: Float32Array, mask: TokenMask): Float32Array {
    const size = Math.min(logits.length, this.#vocabSize);
    this.#masked ??= new Float32Array(this.#vocabSize);
    const masked = this.#masked.fill(Number.NEGATIVE_INFINITY);
    for (let word = 0; word < mask.length; word++) {
      const first = 32 * word;
      // Words are mostly full or empty.
      if (mask[word] === 0xffff_ffff && first + 32 <= size) {
        for (let id = first; id < first + 32; id++) masked[id] = logits[id]!;
        continue;
      }
      for (let bits = mask[word]!; bits !== 0; bits &= bits - 1) {
        const id = first + 31 - Math.clz32(bits & -bits);
        if (id < size) masked[id] = logits[id]!;
      }
    }
    return masked;
  }

  /**
   * Leaves the tokens to draw from in the candidates, and returns the likeliest.
   *
   * @param placeOf where the score of an id is; -1 where it is not there
   */
  #narrow(logits: Float32Array, placeOf: (id: number) => number): number {
    const size = Math.min(logits.length, this.#vocabSize);
    const scores = this.#penalise(logits, size, placeOf);
    this.#high.look(scores, size);
    const { best } = this.#high;
    if (this.#greedy) return best;

    const { temperature, topK, topP, minP } = this.#sampling;
    const candidates = this.#candidates;
    candidates.begin(temperature);
    if (topK > 0) {
      candidates.takeTopK(topK);
      if (topP < 1) candidates.keepTopP(topP);
    } else if (topP < 1) {
      candidates.takeTopP(topP);
    } else {
      // One nat more than min-p leaves: the cut itself is not made here.
      candidates.takeDownTo(1 - Math.log(minP));
    }
    if (minP > 0) candidates.keepMinP(minP);
    return best;
  }

  #penalise(logits: Float32Array, size: number, placeOf: (id: number) => number): Float32Array {
    const scores = this.#penalised;
    if (scores.length === 0) return logits;
    scores.set(logits.subarray(0, size));
    const repetition = Math.fround(this.#sampling.repetitionPenalty);
    for (const id of this.#seen) {
      const place = placeOf(id);
      const score = scores[place];
      if (score === undefined) continue;
      scores[place] = score < 0 ? score * repetition : score / repetition;
    }
    const presence = Math.fround(this.#sampling.presencePenalty);
    const frequency = Math.fround(this.#sampling.frequencyPenalty);
    for (const [id, times] of this.#generated) {
      const place = placeOf(id);
      const score = scores[place];
      if (score !== undefined) scores[place] = score - presence - frequency * times;
    }
    return scores;
  }
}
