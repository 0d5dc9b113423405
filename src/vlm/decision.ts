// What was decided, from how likely each possible answer is. In: a question and the scores of its answers. Out: a decision.
// It knows nothing of where scores come from.

import type { DecideQuestion, Decision } from "./vision-language-model.ts";

/** Everything but a box is chosen from a list. */
export type ListedQuestion = Exclude<DecideQuestion, { readonly type: "box" }>;

export interface AnswerScore {
  /** Of all its tokens, in nats; -Infinity for what is impossible. */
  readonly logprob: number;
  /** How many they are, the end among them. */
  readonly tokens: number;
}

/**
 * Options are compared by the mean over their tokens, so that long ones are at no disadvantage; numbers by the sum.
 *
 * @param scores one for each possible answer, in their order
 */
export function decisionOf(question: ListedQuestion, scores: readonly AnswerScore[]): Decision {
  const mean = question.type !== "number";
  const probabilities = softmax(
    scores.map(({ logprob, tokens }) => (mean ? logprob / tokens : logprob)),
  );
  const best = probabilities.indexOf(Math.max(...probabilities));
  const probability = probabilities[best]!;
  switch (question.type) {
    case "yes-no":
      return { type: "yes-no", yes: best === 0, probability: probabilities[0]! };
    case "choice":
      return { type: "choice", option: question.options[best]!, probability, probabilities };
    case "number": {
      const { min } = question;
      const expected = probabilities.reduce((sum, p, index) => sum + p * (min + index), 0);
      return { type: "number", value: min + best, probability, expected };
    }
  }
}

/** All but impossible ones add up to 1. */
function softmax(scores: readonly number[]): number[] {
  const highest = scores.reduce((a, b) => Math.max(a, b), Number.NEGATIVE_INFINITY);
  const weights = scores.map((score) => Math.exp(score - highest));
  const sum = weights.reduce((a, b) => a + b, 0);
  return weights.map((weight) => weight / sum);
}
