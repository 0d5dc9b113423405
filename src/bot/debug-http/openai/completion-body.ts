// Answers in the form of OpenAI's chat completions. In: what the model streams, of one answer or of several. Out: one body,
// or its chunks. It opens no stream itself.

import { createHash, randomUUID } from "node:crypto";
import type {
  FinishPart,
  FinishReason,
  GenerateResult,
  ModelInfo,
  TokenScore,
  ToolCallPart,
} from "../../../vlm/index.ts";
import type { ChoicePart } from "./choices.ts";

const FINISH: Readonly<Record<string, string>> = {
  "max-tokens": "length",
  "context-full": "length",
  "tool-calls": "tool_calls",
};

/** As OpenAI's own servers write it. */
const LEAST_LOGPROB = -9999;

export interface CompletionOptions {
  readonly model: ModelInfo;
  /** Its stream ends with the usage. */
  readonly includeUsage: boolean;
}

/** One completion: its id, its time and the model's name are in every piece of it. */
export class Completion {
  readonly id = `chatcmpl-${randomUUID()}`;
  readonly #options: CompletionOptions;
  readonly #head: object;
  /** Calls of tools so far, and the finish, by the answer's number. */
  readonly #toolCalls: number[] = [];
  readonly #finishes: FinishPart[] = [];

  constructor(options: CompletionOptions) {
    this.#options = options;
    this.#head = {
      id: this.id,
      created: Math.floor(Date.now() / 1000),
      model: options.model.name,
      system_fingerprint: fingerprintOf(options.model),
    };
  }

  /** The answers to a request without `stream`. */
  body(results: readonly GenerateResult[]): object {
    const choices = results.map(choiceOf);
    return { ...this.#head, object: "chat.completion", choices, usage: usageOf(results) };
  }

  /** The first chunk of an answer: whose words follow. */
  start(index: number): object {
    return this.#chunk(index, { role: "assistant", content: "", refusal: null });
  }

  /** A part of an answer. */
  chunks({ index, part }: ChoicePart): readonly object[] {
    switch (part.type) {
      case "text-delta":
        return [this.#chunk(index, { content: part.text })];
      case "reasoning-delta":
        return [this.#chunk(index, { reasoning_content: part.text })];
      case "tool-call": {
        const call = this.#toolCalls[index] ?? 0;
        this.#toolCalls[index] = call + 1;
        const { function: called, ...head } = toolCallOf(part);
        const begun = { index: call, ...head, function: { name: called.name, arguments: "" } };
        const given = { index: call, function: { arguments: called.arguments } };
        return [
          this.#chunk(index, { tool_calls: [begun] }),
          this.#chunk(index, { tool_calls: [given] }),
        ];
      }
      case "finish":
        this.#finishes[index] = part;
        return [this.#chunk(index, {}, finishReasonOf(part.finishReason), logprobsOf(part))];
    }
  }

  /** Behind the last answer: the usage of all, where it was asked for. */
  end(): readonly object[] {
    if (!this.#options.includeUsage) return [];
    const usage = usageOf(this.#finishes);
    return [{ ...this.#head, object: "chat.completion.chunk", choices: [], usage }];
  }

  #chunk(
    index: number,
    delta: object,
    finishReason: string | null = null,
    logprobs: object | null = null,
  ): object {
    const choice = { index, delta, finish_reason: finishReason, logprobs };
    const usage = this.#options.includeUsage ? { usage: null } : {};
    return { ...this.#head, object: "chat.completion.chunk", choices: [choice], ...usage };
  }
}

function choiceOf(result: GenerateResult, index: number): object {
  const { text, reasoning, finishReason, toolCalls } = result;
  return {
    index,
    message: {
      role: "assistant",
      content: text === "" && toolCalls.length > 0 ? null : text,
      refusal: null,
      ...(reasoning === "" ? {} : { reasoning_content: reasoning }),
      ...(toolCalls.length === 0 ? {} : { tool_calls: toolCalls.map(toolCallOf) }),
    },
    finish_reason: finishReasonOf(finishReason),
    logprobs: logprobsOf(result),
  };
}

/** `null` where nobody asked. */
function logprobsOf({ logprobs }: Pick<FinishPart, "logprobs">): object | null {
  if (!logprobs) return null;
  const content = logprobs.map(({ likeliest, ...token }) => ({
    ...tokenOf(token),
    top_logprobs: likeliest.map(tokenOf),
  }));
  return { content, refusal: null };
}

/** JSON has no number for what is impossible. */
function tokenOf({ text, bytes, logprob }: TokenScore): object {
  return { token: text, logprob: Math.max(logprob, LEAST_LOGPROB), bytes: [...bytes] };
}

function finishReasonOf(reason: FinishReason): string {
  return FINISH[reason] ?? "stop";
}

/** Clients look results up by id among all calls of a conversation, so it is another one in every answer. */
function toolCallOf({ name, arguments: text }: ToolCallPart) {
  const id = `call_${randomUUID().replaceAll("-", "").slice(0, 24)}`;
  return { id, type: "function", function: { name, arguments: text } } as const;
}

/** Changes when the same seed may give another answer: another model, device or format. */
function fingerprintOf({ name, device, kvPrecision }: ModelInfo): string {
  const hash = createHash("sha256").update([name, device, kvPrecision ?? ""].join("\n"));
  return `fp_${hash.digest("hex").slice(0, 10)}`;
}

/** The prompt counts once, however many answers it has. */
function usageOf(answers: readonly Pick<FinishPart, "usage" | "cache">[]): object {
  const [promptTokens = 0] = answers.map(({ usage }) => usage.promptTokens);
  const sum = (count: (usage: FinishPart["usage"]) => number) =>
    answers.reduce((total, { usage }) => total + count(usage), 0);
  const completionTokens = sum((usage) => usage.completionTokens);
  // What one answer took over from another was not there before.
  const cached = Math.min(...answers.map(({ cache }) => cache.promptTokens ?? 0));
  return {
    prompt_tokens: promptTokens,
    completion_tokens: completionTokens,
    total_tokens: promptTokens + completionTokens,
    prompt_tokens_details: { cached_tokens: cached },
    completion_tokens_details: { reasoning_tokens: sum((usage) => usage.reasoningTokens) },
  };
}
