// How likely a token was, and which could have stood in its place. In: the logits of one position, the id that was chosen.
// Out: log-probabilities over the whole vocabulary. It chooses nothing.

import type { Tokenizer } from "../text/tokenizer.ts";
import type { ChosenToken, TokenScore } from "../vision-language-model.ts";

export interface TokenScoresOptions {
  readonly tokenizer: Pick<Tokenizer, "tokenBytes" | "isSpecial">;
  readonly eosTokenIds: ReadonlySet<number>;
  /** Ids from here on stand for no token. */
  readonly vocabSize: number;
  /** So many of the likeliest are named. */
  readonly count: number;
}

/** The tokens of one answer, in order. */
export class TokenScores {
  readonly tokens: ChosenToken[] = [];
  readonly #options: TokenScoresOptions;

  constructor(options: TokenScoresOptions) {
    this.#options = options;
  }

  /** @param logits (vocab) as the model gave them, before penalties and masks */
  add(id: number, logits: Float32Array): void {
    const { vocabSize, count } = this.#options;
    const size = Math.min(logits.length, vocabSize);
    const ids = highest(logits, size, count);
    const total = logSumExp(logits, size);
    const score = (each: number) => this.#score(each, logits[each]! - total);
    this.tokens.push({ ...score(id), likeliest: ids.map(score) });
  }

  #score(id: number, logprob: number): TokenScore {
    const { tokenizer, eosTokenIds } = this.#options;
    const bytes = tokenizer.tokenBytes(id);
    const end = eosTokenIds.has(id);
    const isText = !end && !tokenizer.isSpecial(id);
    return {
      text: Buffer.from(bytes).toString("utf8"),
      bytes: isText ? bytes : new Uint8Array(),
      logprob: Math.min(0, logprob),
      end,
    };
  }
}

/** Ids of the highest scores, highest first; of equals, the lowest id first. */
function highest(logits: Float32Array, size: number, count: number): number[] {
  const ids: number[] = [];
  if (count === 0) return ids;
  for (let id = 0; id < size; id++) {
    const score = logits[id]!;
    if (ids.length === count && score <= logits[ids[count - 1]!]!) continue;
    const place = ids.findIndex((other) => logits[other]! < score);
    ids.splice(place === -1 ? ids.length : place, 0, id);
    if (ids.length > count) ids.pop();
  }
  return ids;
}

/** The logarithm of the sum of all weights. */
export function logSumExp(scores: Float32Array, size: number): number {
  let most = Number.NEGATIVE_INFINITY;
  for (let id = 0; id < size; id++) if (scores[id]! > most) most = scores[id]!;
  let sum = 0;
  for (let id = 0; id < size; id++) sum += Math.exp(scores[id]! - most);
  return most + Math.log(sum);
}
