// Answers in the form of OpenAI's chat completions. In: what the model streams. Out: one body, or its chunks.
// It opens no stream itself.

import { createHash, randomUUID } from "node:crypto";
import type {
  FinishPart,
  FinishReason,
  GenerateResult,
  ModelInfo,
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

export interface CompletionOptions {
  readonly model: ModelInfo;
  /** Its stream ends with the usage. */
  readonly includeUsage: boolean;
}

/** One completion: its id, its time and the model's name are in every piece of it. */
export class Completion {
  readonly #options: CompletionOptions;
  readonly #head: object;
  #toolCalls = 0;

  constructor(options: CompletionOptions) {
    this.#options = options;
    this.#head = {
      id: `chatcmpl-${randomUUID()}`,
      created: Math.floor(Date.now() / 1000),
      model: options.model.name,
      system_fingerprint: fingerprintOf(options.model),
    };
  }

  /** The answer to a request without `stream`. */
  body(result: GenerateResult): object {
    const { text, reasoning, finishReason, toolCalls: calls } = result;
    return {
      ...this.#head,
      object: "chat.completion",
      choices: [
        {
          index: 0,
          message: {
            role: "assistant",
            content: text === "" && calls.length > 0 ? null : text,
            refusal: null,
            ...(reasoning === "" ? {} : { reasoning_content: reasoning }),
            ...(calls.length === 0 ? {} : { tool_calls: calls.map(toolCallOf) }),
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
    return this.#chunk({ role: "assistant", content: "", refusal: null });
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
  finish(part: FinishPart): readonly object[] {
    const last = this.#chunk({}, finishReasonOf(part.finishReason), logprobsOf(part));
    if (!this.#options.includeUsage) return [last];
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
    const usage = this.#options.includeUsage ? { usage: null } : {};
    return { ...this.#head, object: "chat.completion.chunk", choices: [choice], ...usage };
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
