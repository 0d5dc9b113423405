// Answers in the form of OpenAI's chat completions. In: what the model streams. Out: one body, or its chunks.
// It opens no stream itself.

import { randomUUID } from "node:crypto";
import type {
  FinishPart,
  FinishReason,
  GenerateResult,
  StreamPart,
  TokenScore,
  ToolCallPart,
} from "../../../vlm/index.ts";

const FINISH: Readonly<Record<string, string>> = {
  "max-tokens": "length",
  "context-full": "length",
  "tool-calls": "tool_calls",
};

/** As OpenAI's own servers write it. */
const LEAST_LOGPROB = -9999;

/** One completion: its id, its time and the model's name are in every piece of it. */
export class Completion {
  readonly #head: { readonly id: string; readonly created: number; readonly model: string };
  #toolCalls = 0;

  constructor(model: string) {
    this.#head = {
      id: `chatcmpl-${randomUUID()}`,
      created: Math.floor(Date.now() / 1000),
      model,
    };
  }

  /** The answer to a request without `stream`. */
  body(result: GenerateResult): object {
    const { text, reasoning, toolCalls, finishReason } = result;
    return {
      ...this.#head,
      object: "chat.completion",
      choices: [
        {
          index: 0,
          message: {
            role: "assistant",
            content: text === "" && toolCalls.length > 0 ? null : text,
            ...(reasoning === "" ? {} : { reasoning_content: reasoning }),
            ...(toolCalls.length === 0 ? {} : { tool_calls: toolCalls.map(toolCallOf) }),
          },
          finish_reason: finishReasonOf(finishReason),
          logprobs: logprobsOf(result),
        },
      ],
      usage: usageOf(result),
    };
  }

  /** The first chunk: whose words follow. */
  start(): object {
    return this.#chunk({ role: "assistant", content: "" });
  }

  /** A part of the answer; the finish is {@link finish}. */
  chunks(part: Exclude<StreamPart, FinishPart>): readonly object[] {
    switch (part.type) {
      case "text-delta":
        return [this.#chunk({ content: part.text })];
      case "reasoning-delta":
        return [this.#chunk({ reasoning_content: part.text })];
      case "tool-call": {
        const index = this.#toolCalls++;
        const { function: call, ...head } = toolCallOf(part);
        return [
          this.#chunk({
            tool_calls: [{ index, ...head, function: { name: call.name, arguments: "" } }],
          }),
          this.#chunk({ tool_calls: [{ index, function: { arguments: call.arguments } }] }),
        ];
      }
    }
  }

  /** The last chunk, and where it was asked for one more with the usage. */
  finish(part: FinishPart, includeUsage: boolean): readonly object[] {
    const last = this.#chunk({}, finishReasonOf(part.finishReason), logprobsOf(part));
    if (!includeUsage) return [last];
    return [
      last,
      { ...this.#head, object: "chat.completion.chunk", choices: [], usage: usageOf(part) },
    ];
  }

  #chunk(
    delta: object,
    finishReason: string | null = null,
    logprobs: object | null = null,
  ): object {
    const choice = { index: 0, delta, finish_reason: finishReason, logprobs };
    return { ...this.#head, object: "chat.completion.chunk", choices: [choice] };
  }
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

function toolCallOf({ id, name, arguments: text }: ToolCallPart) {
  return { id, type: "function", function: { name, arguments: text } } as const;
}

function usageOf({ usage, cache }: Pick<FinishPart, "usage" | "cache">): object {
  const { promptTokens, completionTokens, reasoningTokens } = usage;
  return {
    prompt_tokens: promptTokens,
    completion_tokens: completionTokens,
    total_tokens: promptTokens + completionTokens,
    prompt_tokens_details: { cached_tokens: cache.promptTokens ?? 0 },
    completion_tokens_details: { reasoning_tokens: reasoningTokens },
  };
}
