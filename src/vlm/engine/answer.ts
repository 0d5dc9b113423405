// One answer as it is written: scores in, the next token out, text on its way to whoever asked.
// It knows nothing of slots or of the loop, and leaves to the flow what an answer is.

import { AnswerFlow, type AnswerFlowOptions } from "../text/answer-flow.ts";
import type { Tokenizer } from "../text/tokenizer.ts";
import type { ChosenToken, SamplingOptions, StreamPart } from "../vision-language-model.ts";
import type { Scores } from "./decoder-backend.ts";
import { Sampler } from "./sampler.ts";
import type { TakenToken, TokenReader } from "./sequence.ts";
import { TokenScores } from "./token-scores.ts";

export interface AnswerOptions extends Omit<AnswerFlowOptions, "contextRoom"> {
  readonly tokenizer: Tokenizer;
  /** Rows of the logits. */
  readonly vocabSize: number;
  /** Most tokens of prompt and answer together. */
  readonly contextTokens: number;
  readonly promptIds: Int32Array;
  readonly sampling: Required<SamplingOptions>;
  /** Keep how likely each token was, and so many of the likeliest. Left out: nothing of that. */
  readonly topLogprobs?: number | undefined;
  readonly push: (part: StreamPart) => void;
}

/** The text of one request, token by token. */
export class Answer implements TokenReader {
  readonly flow: AnswerFlow;
  readonly #sampler: Sampler;
  readonly #scores: TokenScores | undefined;
  readonly #push: (part: StreamPart) => void;

  constructor(options: AnswerOptions) {
    const { tokenizer, sampling, promptIds, contextTokens, topLogprobs, push } = options;
    // Some checkpoints have more rows than tokens.
    const vocabSize = Math.min(tokenizer.size, options.vocabSize);
    this.flow = new AnswerFlow({ ...options, contextRoom: contextTokens - promptIds.length });
    this.#sampler = new Sampler(sampling, vocabSize, promptIds);
    if (topLogprobs !== undefined) {
      const { eosTokenIds } = options;
      this.#scores = new TokenScores({ tokenizer, eosTokenIds, vocabSize, count: topLogprobs });
    }
    this.#push = push;
  }

  /** Of the tokens that the model chose for the answer, if that was asked for. */
  get logprobs(): readonly ChosenToken[] | undefined {
    return this.#scores?.tokens;
  }

  /** Which tokens may come has to be known before one is chosen. */
  get ready(): Promise<void> | undefined {
    return this.flow.prepare();
  }

  take(scores: Scores): TakenToken {
    const { due } = this.flow;
    const scored = due === undefined && !this.flow.reasoning ? this.#scores : undefined;
    if (scored && !(scores instanceof Float32Array)) return "needs-all-scores";
    const chosen = due ?? this.#choose(scores);
    if (chosen === undefined) return "needs-all-scores";
    const id = chosen === due ? chosen : this.flow.settle(chosen);
    if (scored && scores instanceof Float32Array) scored.add(id, scores);
    for (const delta of this.flow.take(id)) this.#push(delta);
    if (this.flow.finishReason === undefined) {
      this.#sampler.accept(id);
      // While the decoder computes, there is time to find out what may follow.
      void this.ready;
      return id;
    }
    for (const delta of this.flow.end()) this.#push(delta);
    return undefined;
  }

  #choose(scores: Scores): number | undefined {
    const { mask } = this.flow;
    if (scores instanceof Float32Array) return this.#sampler.sample(scores, mask);
    return this.#sampler.sampleTop(scores, mask);
  }
}
