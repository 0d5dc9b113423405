// Parts of the seam in, parts of the AI SDK out: every text, thought and call is opened before it and closed after it.
// It knows nothing of prompts.

import type {
  LanguageModelV3FinishReason,
  LanguageModelV3StreamPart,
  LanguageModelV3Usage,
} from "@ai-sdk/provider";
import type { FinishPart, FinishReason, StreamPart, ToolCallPart } from "../vlm/index.ts";
import { ownMetadata } from "./provider-options.ts";

/** Translates one answer, part by part. */
export class StreamParts {
  #open: { readonly kind: "text" | "reasoning"; readonly id: string } | undefined;
  #opened = 0;

  /** @returns what the SDK has to see now, in order */
  push(part: StreamPart): LanguageModelV3StreamPart[] {
    switch (part.type) {
      case "text-delta":
        return this.#delta("text", part.text);
      case "reasoning-delta":
        return this.#delta("reasoning", part.text);
      case "tool-call":
        return [...this.#close(), ...toolCallParts(part)];
      case "finish":
        return [
          ...this.#close(),
          {
            type: "finish",
            finishReason: finishReasonOf(part.finishReason),
            usage: usageOf(part),
            providerMetadata: ownMetadata(part),
          },
        ];
    }
  }

  /** The answer ends here, and is none. */
  fail(error: unknown): LanguageModelV3StreamPart[] {
    const finishReason = { unified: "error", raw: undefined } as const;
    return [
      ...this.#close(),
      { type: "error", error },
      { type: "finish", finishReason, usage: NO_USAGE },
    ];
  }

  #delta(kind: "text" | "reasoning", delta: string): LanguageModelV3StreamPart[] {
    const before = this.#open?.kind === kind ? [] : [...this.#close(), this.#start(kind)];
    return [...before, { type: `${kind}-delta`, id: this.#open?.id ?? "", delta }];
  }

  #start(kind: "text" | "reasoning"): LanguageModelV3StreamPart {
    this.#open = { kind, id: `${kind}-${this.#opened++}` };
    return { type: `${kind}-start`, id: this.#open.id };
  }

  #close(): LanguageModelV3StreamPart[] {
    if (!this.#open) return [];
    const { kind, id } = this.#open;
    this.#open = undefined;
    return [{ type: `${kind}-end`, id }];
  }
}

/** The SDK looks results up by id among all calls of a conversation, so it is another one in every answer. */
export function newCallId(): string {
  return `call_${crypto.randomUUID()}`;
}

function toolCallParts({ name, arguments: input }: ToolCallPart): LanguageModelV3StreamPart[] {
  const id = newCallId();
  return [
    { type: "tool-input-start", id, toolName: name },
    { type: "tool-input-delta", id, delta: input },
    { type: "tool-input-end", id },
    { type: "tool-call", toolCallId: id, toolName: name, input },
  ];
}

const NO_USAGE: LanguageModelV3Usage = {
  inputTokens: {
    total: undefined,
    noCache: undefined,
    cacheRead: undefined,
    cacheWrite: undefined,
  },
  outputTokens: { total: undefined, text: undefined, reasoning: undefined },
};

const UNIFIED: Readonly<Record<string, LanguageModelV3FinishReason["unified"]>> = {
  stop: "stop",
  "stop-string": "stop",
  "tool-calls": "tool-calls",
  "max-tokens": "length",
  "context-full": "length",
};

export function finishReasonOf(reason: FinishReason): LanguageModelV3FinishReason {
  return { unified: UNIFIED[reason] ?? "other", raw: reason };
}

export function usageOf({
  usage,
  cache,
}: Pick<FinishPart, "usage" | "cache">): LanguageModelV3Usage {
  const { promptTokens, completionTokens, reasoningTokens } = usage;
  const cacheRead = cache.promptTokens ?? 0;
  return {
    inputTokens: {
      total: promptTokens,
      noCache: promptTokens - cacheRead,
      cacheRead,
      cacheWrite: undefined,
    },
    outputTokens: {
      total: completionTokens,
      text: completionTokens - reasoningTokens,
      reasoning: reasoningTokens,
    },
  };
}
