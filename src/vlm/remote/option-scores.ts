// How likely each of several texts is as an answer, where all that can be asked is which tokens are likeliest behind a
// beginning. In: texts, and somebody to ask. Out: log-probabilities. It opens no connection and decides nothing.

import type { AnswerScore } from "../decision.ts";
import type { TokenScore } from "../vision-language-model.ts";

export interface OptionScoresOptions {
  readonly texts: readonly string[];
  /**
   * The likeliest tokens behind a beginning of so many tokens; undefined: nobody can say. `""` is the beginning of all.
   */
  readonly ask: (beginning: string, tokens: number) => Promise<readonly TokenScore[] | undefined>;
  /** Beginnings with a smaller share of all texts are not followed, and texts that are not in sight are impossible. @default 0 */
  readonly leastShare?: number;
}

/** Options that nobody can tell apart. */
export class NoScores extends Error {
  override readonly name = "NoScores";
}

/** So many beginnings are asked for at most; what is behind the others counts as certain. */
const MOST_ASKED = 100;

/** Texts that begin alike. Bytes are characters of a string here, for a token may end inside a character. */
interface Place {
  readonly beginning: string;
  readonly tokens: number;
  readonly logprob: number;
  readonly share: number;
  /** Indices of texts. */
  readonly texts: readonly number[];
}

/**
 * Walks the tree of the texts, token by token. Of the tokens that a text could go on with, the longest counts, for so
 * vocabularies cut. A text that is not among the likeliest is taken for as likely as the least of them: it is at most that.
 *
 * @throws {NoScores} where none of the texts is in sight, or several begin alike and nobody knows what follows
 */
export async function optionScores(options: OptionScoresOptions): Promise<readonly AnswerScore[]> {
  const walk = new Walk(options);
  await walk.run();
  return walk.scores;
}

/** By the bytes of the token that texts go on with. */
type Ways = Map<string, { readonly logprob: number; readonly texts: number[] }>;

class Walk {
  readonly scores: AnswerScore[];
  readonly #ask: OptionScoresOptions["ask"];
  readonly #leastShare: number;
  readonly #texts: readonly string[];
  #asked = 0;

  constructor({ texts, ask, leastShare = 0 }: OptionScoresOptions) {
    this.#texts = texts.map((text) => Buffer.from(text).toString("latin1"));
    this.scores = texts.map(() => ({ logprob: Number.NEGATIVE_INFINITY, tokens: 1 }));
    this.#ask = ask;
    this.#leastShare = leastShare;
  }

  async run(): Promise<void> {
    const texts = [...this.#texts.keys()];
    await this.#visit({ beginning: "", tokens: 0, logprob: 0, share: 1, texts });
  }

  async #visit(place: Place): Promise<void> {
    const likeliest = await this.#likeliest(place);
    if (likeliest === undefined) {
      if (place.texts.length > 1)
        throw new NoScores("Several of the options begin with one token.");
      // What follows is as good as certain, once its first token has come.
      for (const index of place.texts) this.#settle(index, place.logprob, place.tokens + 1);
      return;
    }
    const { ways, ended } = this.#ways(place, likeliest);
    if (place.tokens === 0 && ways.size === 0) throw new NoScores("None of the options is likely.");
    const least = Math.min(...likeliest.map(({ logprob }) => logprob));
    const end = likeliest.find((token) => token.end)?.logprob ?? this.#unseen(least);
    for (const index of ended) this.#settle(index, place.logprob + end, place.tokens + 1);
    const places = this.#places(place, ways, ended.length > 0 ? [end] : []);
    for (const index of place.texts) {
      if (ended.includes(index) || places.some(({ texts }) => texts.includes(index))) continue;
      this.#settle(index, place.logprob + this.#unseen(least), place.tokens + 2);
    }
    const followed = places.filter(({ share }) => share >= this.#leastShare);
    await Promise.all(followed.map((next) => this.#visit(next)));
  }

  async #likeliest({ beginning, tokens }: Place): Promise<readonly TokenScore[] | undefined> {
    const bytes = Buffer.from(beginning, "latin1");
    const text = bytes.toString("utf8");
    const cut = !Buffer.from(text).equals(bytes);
    if (cut || this.#asked++ >= MOST_ASKED) return undefined;
    return this.#ask(text, tokens);
  }

  /** Which texts go on with which token, and which are over. */
  #ways({ beginning, texts }: Place, likeliest: readonly TokenScore[]) {
    const ways: Ways = new Map();
    const ended: number[] = [];
    const tokens = likeliest.map(({ bytes, logprob }) => ({
      bytes: Buffer.from(bytes).toString("latin1"),
      logprob,
    }));
    for (const index of texts) {
      const rest = this.#texts[index]!.slice(beginning.length);
      if (rest === "") {
        ended.push(index);
        continue;
      }
      const fitting = tokens.filter(({ bytes }) => bytes !== "" && rest.startsWith(bytes));
      const longest = fitting.toSorted((a, b) => b.bytes.length - a.bytes.length)[0];
      if (longest === undefined) continue;
      const { bytes, logprob } = longest;
      const way = ways.get(bytes) ?? { logprob, texts: [] };
      way.texts.push(index);
      ways.set(bytes, way);
    }
    return { ways, ended };
  }

  #places(place: Place, ways: Ways, ends: readonly number[]): Place[] {
    const scores = [...[...ways.values()].map(({ logprob }) => logprob), ...ends];
    const highest = Math.max(...scores);
    const sum = scores.reduce((total, score) => total + Math.exp(score - highest), 0);
    return [...ways].map(([bytes, { logprob, texts }]) => ({
      beginning: place.beginning + bytes,
      tokens: place.tokens + 1,
      logprob: place.logprob + logprob,
      share: (place.share * Math.exp(logprob - highest)) / sum,
      texts,
    }));
  }

  #unseen(least: number): number {
    return this.#leastShare > 0 ? Number.NEGATIVE_INFINITY : least;
  }

  #settle(index: number, logprob: number, tokens: number): void {
    this.scores[index] = { logprob, tokens };
  }
}
