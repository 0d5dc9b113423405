// How long a thought may become, and the tokens that end it for the model.
// In: how far the thought has come. Out: tokens that have to follow, one by one. It shows no text and samples nothing.

import type { Tokenizer } from "./tokenizer.ts";

/** Part of the room for an answer that a thought can never take. */
const ANSWER_SHARE = 1 / 4;

export interface ThoughtBudgetOptions {
  readonly tokenizer: Pick<Tokenizer, "encodeText" | "findSpecial">;
  /** Tokens after which a thought is closed. */
  readonly maxReasoningTokens: number;
  /** Tokens that thought and answer have together: `maxTokens`, or what the context has left. */
  readonly room: number;
}

/** Ends a thought that has used up its tokens, or that the model would end the whole answer in. */
export class ThoughtBudget {
  readonly #tokenizer: ThoughtBudgetOptions["tokenizer"];
  readonly #maxReasoningTokens: number;
  #due: readonly number[] = [];
  #closed = false;

  constructor({ tokenizer, maxReasoningTokens, room }: ThoughtBudgetOptions) {
    this.#tokenizer = tokenizer;
    this.#maxReasoningTokens = Math.min(maxReasoningTokens, Math.floor(room * (1 - ANSWER_SHARE)));
  }

  /** A thought was closed for the model. */
  get closed(): boolean {
    return this.#closed;
  }

  /** Is the thought, of so many tokens, to be closed now? */
  isUsedUp(reasoningTokens: number): boolean {
    return reasoningTokens >= this.#maxReasoningTokens;
  }

  /** The token that has to come next, whatever the model would write. */
  get due(): number | undefined {
    return this.#due[0];
  }

  /** The token that was due has come. */
  advance(): void {
    this.#due = this.#due.slice(1);
  }

  /** Lets the closing of the thought come next, as the chat template writes it. */
  close(): void {
    this.#closed = true;
    this.#due = closedThought(this.#tokenizer);
  }
}

/** The end of a thought, as the chat template writes it. */
function closedThought(tokenizer: ThoughtBudgetOptions["tokenizer"]): readonly number[] {
  const mark = tokenizer.findSpecial("</think>");
  return mark === undefined
    ? tokenizer.encodeText("\n</think>\n\n")
    : [...tokenizer.encodeText("\n"), mark, ...tokenizer.encodeText("\n\n")];
}
