// What a server does not take, learnt from its refusals. In: a body. Out: the body without those fields.
// It asks nobody; whoever asks again does it with what is left.

import type { CompletionBody } from "./open-ai-client.ts";
import type { ServerRefusal } from "./server-refusal.ts";

/** An answer is the same answer without them; whatever else a server refuses is the caller's to know. */
const DISPENSABLE = [
  "stream_options",
  "top_k",
  "min_p",
  "repetition_penalty",
  "presence_penalty",
  "frequency_penalty",
  "chat_template_kwargs",
  "parallel_tool_calls",
  "seed",
  // The longer name first: it holds the other one's.
  "top_logprobs",
  "logprobs",
] as const;

/** Some servers show less than OpenAI's. */
const FEW_LOGPROBS = 5;

/** Remembers for one server which fields it refused by name. */
export class RefusedFields {
  readonly #fields = new Set<string>();
  /** Newer models of OpenAI know the limit by its other name only. */
  #newLimitName = false;
  #fewLogprobs = false;

  /** @returns whether there was something to learn: asking again makes sense then */
  learn(refusal: ServerRefusal, body: CompletionBody): boolean {
    if (refusal.status !== 400 && refusal.status !== 422) return false;
    const { words } = refusal;
    if (!this.#newLimitName && "max_tokens" in body && words.includes("max_completion_tokens")) {
      this.#newLimitName = true;
      return true;
    }
    const { top_logprobs: shown = 0 } = body;
    if (words.includes("top_logprobs") && (shown ?? 0) > FEW_LOGPROBS) {
      this.#fewLogprobs = true;
      return true;
    }
    const named = DISPENSABLE.find(
      (field) => field in body && new RegExp(`\\b${field}\\b`, "u").test(words),
    );
    if (named === undefined) return false;
    this.#fields.add(named);
    return true;
  }

  without(body: CompletionBody): CompletionBody {
    const { max_tokens: limit, ...rest } = body;
    const named = this.#newLimitName ? { ...rest, max_completion_tokens: limit } : { ...body };
    if (this.#fewLogprobs && (named.top_logprobs ?? 0) > FEW_LOGPROBS) {
      named.top_logprobs = FEW_LOGPROBS;
    }
    const kept = Object.entries(named).filter(([field]) => !this.#fields.has(field));
    return Object.fromEntries(kept) as unknown as CompletionBody;
  }
}
