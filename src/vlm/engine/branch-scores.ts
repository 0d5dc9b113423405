// How likely each of several texts is behind one prompt, from one reading of it: the texts form a tree of tokens, and
// the reader walks that tree in the slot of the prompt, going back to where two texts part.
// In: scores. Out: log-probabilities. It knows no words and chooses nothing.

import type { Scores } from "./decoder-backend.ts";
import type { TakenToken, TokenReader } from "./sequence.ts";
import { logSumExp } from "./token-scores.ts";

interface Branch {
  readonly token: number;
  /** Tokens from the prompt, this one included. */
  readonly depth: number;
  readonly children: Map<number, Branch>;
  /** Of everything up to and with this token. */
  logProbability: number;
  /** Of the probability of all texts together, as far as their beginnings tell. */
  share: number;
}

export interface BranchScoresOptions {
  /** Tokens of each text, the one that ends it included. */
  readonly texts: readonly (readonly number[])[];
  /** Ids from here on stand for no token. */
  readonly vocabSize: number;
  /** Beginnings with a smaller share of all texts are not followed: their texts count as impossible. @default 0 */
  readonly leastShare?: number;
}

/** A reader that computes and says nothing. */
export class BranchScores implements TokenReader {
  readonly #texts: readonly (readonly number[])[];
  readonly #vocabSize: number;
  readonly #least: number;
  readonly #root = branch(-1, 0);
  /** Whose successors' scores come next. */
  #at = this.#root;
  /** Branches to visit, the next one last. */
  readonly #open: Branch[] = [];

  constructor({ texts, vocabSize, leastShare = 0 }: BranchScoresOptions) {
    this.#texts = texts;
    this.#vocabSize = vocabSize;
    this.#least = leastShare;
    for (const tokens of texts) {
      let at = this.#root;
      for (const token of tokens) {
        const next = at.children.get(token) ?? branch(token, at.depth + 1);
        at.children.set(token, next);
        at = next;
      }
    }
    this.#root.logProbability = 0;
    this.#root.share = 1;
  }

  /** (texts) Of all tokens of each, in nats; -Infinity for those that were not followed. */
  get logProbabilities(): readonly number[] {
    return this.#texts.map((tokens) => {
      let at = this.#root;
      for (const token of tokens) at = at.children.get(token)!;
      return at.logProbability;
    });
  }

  /** The way down from where it is, as long as nothing else comes in between. */
  get ahead(): readonly number[] {
    if (this.#least > 0) return [];
    const ids: number[] = [];
    for (let at = firstToFollow(this.#at); at; at = firstToFollow(at)) ids.push(at.token);
    return ids;
  }

  take(scores: Scores): TakenToken {
    if (!(scores instanceof Float32Array)) return "needs-all-scores";
    const { children, logProbability, depth, share } = this.#at;
    const total = logSumExp(scores, Math.min(scores.length, this.#vocabSize));
    const highest = Math.max(...Array.from(children.keys(), (token) => scores[token]!));
    let weights = 0;
    for (const { token } of children.values()) weights += Math.exp(scores[token]! - highest);
    for (const child of children.values()) {
      child.logProbability = logProbability + scores[child.token]! - total;
      child.share = (share * Math.exp(scores[child.token]! - highest)) / weights;
    }
    const follow = [...children.values()].filter(
      (child) => child.children.size > 0 && child.share >= this.#least,
    );
    this.#open.push(...follow.toReversed());
    const next = this.#open.pop();
    if (!next) return undefined;
    this.#at = next;
    const [keep, id] = [next.depth - 1, next.token];
    return keep === depth ? id : { keep, id };
  }
}

/** Ends need no scores of what would follow them. */
function firstToFollow(at: Branch): Branch | undefined {
  return [...at.children.values()].find(({ children }) => children.size > 0);
}

function branch(token: number, depth: number): Branch {
  return { token, depth, children: new Map(), logProbability: Number.NEGATIVE_INFINITY, share: 0 };
}
