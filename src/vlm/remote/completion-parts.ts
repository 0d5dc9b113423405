// The chunks of a chat completion in, parts of the seam out. Tolerant of everything that servers of this interface were
// seen to do: fields missing or null, no usage, thoughts under three names, a whole message in place of deltas.
// It opens no connection.

import { z } from "zod";
import { LeadingThought } from "../text/leading-thought.ts";
import type {
  CacheUse,
  ChosenToken,
  FinishPart,
  FinishReason,
  ResponseFormat,
  StreamPart,
  Timings,
  Usage,
} from "../vision-language-model.ts";
import { ServedForm } from "./served-form.ts";
import { LOGPROBS } from "./served-logprobs.ts";
import { ToolCallPieces } from "./tool-call-pieces.ts";

/** Anything else than expected counts as missing. */
const optional = <T extends z.ZodType>(schema: T) =>
  schema
    .nullish()
    .catch(undefined)
    .transform((value) => value ?? undefined);

const TEXT = optional(
  z.union([
    z.string(),
    z
      .array(z.looseObject({ text: optional(z.string()) }))
      .transform((parts) => parts.map(({ text = "" }) => text).join("")),
  ]),
);

const CALL = z.looseObject({
  index: optional(z.number()),
  id: optional(z.string()),
  function: optional(
    z.looseObject({ name: optional(z.string()), arguments: optional(z.unknown()) }),
  ),
});

const DELTA = z.looseObject({
  content: TEXT,
  reasoning_content: TEXT,
  reasoning: TEXT,
  tool_calls: optional(z.array(CALL)),
});

const COUNT = optional(z.number().min(0));

const CHUNK = z.looseObject({
  choices: optional(
    z.array(
      z.looseObject({
        delta: optional(DELTA),
        message: optional(DELTA),
        finish_reason: optional(z.string()),
        stop_reason: optional(z.union([z.string(), z.number()])),
        logprobs: LOGPROBS,
      }),
    ),
  ),
  usage: optional(
    z.looseObject({
      prompt_tokens: COUNT,
      completion_tokens: COUNT,
      prompt_tokens_details: optional(z.looseObject({ cached_tokens: COUNT })),
      completion_tokens_details: optional(z.looseObject({ reasoning_tokens: COUNT })),
    }),
  ),
});

type Delta = z.output<typeof DELTA>;
type ServerUsage = NonNullable<z.output<typeof CHUNK>["usage"]>;

export interface CompletionPartsOptions {
  /** The answer begins inside a thought. */
  readonly opensThought: boolean;
  /** What a request has to be told at its end and the server does not know. */
  readonly images: number;
  readonly droppedTurns: number;
  readonly maxTokens: number;
  readonly responseFormat?: ResponseFormat | undefined;
  /** If not, the first call counts, whatever a server that does not know of it sends. @default true */
  readonly parallelToolCalls?: boolean | undefined;
}

/** How an answer ended that must not be taken for one. */
export type NoAnswer = "cut" | "filtered" | "failed";

/** Reads one answer. */
export class CompletionParts {
  readonly #options: CompletionPartsOptions;
  #thought: LeadingThought;
  readonly #calls = new ToolCallPieces();
  readonly #form: ServedForm;
  readonly #startedAt = performance.now();
  #firstAt: number | undefined;
  #finish: string | undefined;
  #stopString = false;
  #usage: ServerUsage | undefined;
  readonly #logprobs: ChosenToken[] = [];
  #showsLogprobs = false;
  #textDeltas = 0;
  /** Thoughts that the server told apart, and those that stood in the text. */
  #reasoningDeltas = 0;
  #thinkingDeltas = 0;
  /** Half a character at the end of the last piece. */
  #half = "";

  constructor(options: CompletionPartsOptions) {
    this.#options = options;
    const { opensThought, responseFormat } = options;
    this.#form = new ServedForm(responseFormat);
    this.#thought = new LeadingThought({ opened: opensThought, endsInLetters: opensThought });
  }

  push(chunk: unknown): readonly StreamPart[] {
    const { choices = [], usage } = CHUNK.catch({ choices: undefined, usage: undefined }).parse(
      chunk,
    );
    if (usage !== undefined) this.#usage = usage;
    const [choice] = choices;
    if (choice === undefined) return [];
    if (choice.finish_reason !== undefined) this.#finish = choice.finish_reason;
    // vLLM and SGLang name the string that ended the answer.
    if (typeof choice.stop_reason === "string") this.#stopString = true;
    if (choice.logprobs !== undefined) {
      this.#showsLogprobs = true;
      this.#logprobs.push(...choice.logprobs);
    }
    const delta = choice.delta ?? choice.message;
    return delta === undefined ? [] : this.#form.push(this.#read(delta));
  }

  /** Nothing more comes. @returns the last parts; or why this is no answer */
  end(): readonly StreamPart[] | NoAnswer {
    const reason = this.#finishReason();
    if (!isReason(reason)) return reason;
    const rest = this.#half === "" ? [] : this.#thought.push("\u{fffd}");
    const shown = this.#form.push([...rest, ...this.#thought.end()]);
    const { held, kept } = this.#form.end();
    const cut = reason === "max-tokens" || reason === "context-full";
    const most = this.#options.parallelToolCalls === false ? 1 : Number.POSITIVE_INFINITY;
    const calls = cut ? [] : this.#calls.end().slice(0, most);
    const incomplete = !kept && calls.length === 0;
    return [...shown, ...held, ...calls, this.#finishPart(reason, incomplete)];
  }

  #read(delta: Delta): readonly StreamPart[] {
    this.#firstAt ??= performance.now();
    const parts: StreamPart[] = [];
    const reasoning = delta.reasoning_content ?? delta.reasoning ?? "";
    if (reasoning !== "") {
      // A server that takes the thought out by itself: the answer begins as an answer.
      if (this.#textDeltas + this.#thinkingDeltas === 0) this.#thought = new LeadingThought();
      this.#reasoningDeltas++;
      parts.push({ type: "reasoning-delta", text: reasoning });
    }
    if (delta.content !== undefined && delta.content !== "") {
      const deltas = this.#thought.push(this.#wholeCharacters(delta.content));
      if (this.#thought.inside) this.#thinkingDeltas++;
      else this.#textDeltas++;
      parts.push(...deltas);
    }
    for (const { index, id, function: call } of delta.tool_calls ?? []) {
      this.#calls.push({ index, id, name: call?.name, arguments: call?.arguments });
    }
    return parts;
  }

  #wholeCharacters(text: string): string {
    const all = this.#half + text;
    this.#half = /[\ud800-\udbff]$/u.test(all) ? all.slice(-1) : "";
    return this.#half === "" ? all : all.slice(0, -1);
  }

  #finishReason(): FinishReason | NoAnswer {
    const calls = this.#calls.count > 0;
    switch (this.#finish) {
      case undefined:
        // Counting the tokens is the last thing that a server does.
        if (this.#usage === undefined) return "cut";
        return calls ? "tool-calls" : "stop";
      case "length": {
        const written = this.#usage?.completion_tokens;
        const full = written !== undefined && written < this.#options.maxTokens;
        return full ? "context-full" : "max-tokens";
      }
      case "content_filter":
        return "filtered";
      case "abort":
      case "error":
        return "failed";
      default:
        if (calls) return "tool-calls";
        return this.#stopString ? "stop-string" : "stop";
    }
  }

  #finishPart(finishReason: FinishReason, incomplete: boolean): FinishPart {
    return {
      type: "finish",
      finishReason,
      usage: this.#usageOf(),
      timings: this.#timings(),
      cache: this.#cache(),
      ...(incomplete ? { incomplete } : {}),
      ...(this.#showsLogprobs ? { logprobs: this.#logprobs } : {}),
    };
  }

  /** Where the server counts nothing, pieces are counted: mostly one is a token. */
  #usageOf(): Usage {
    const { prompt_tokens, completion_tokens, completion_tokens_details } = this.#usage ?? {};
    const thought = this.#reasoningDeltas + this.#thinkingDeltas;
    const completionTokens = completion_tokens ?? this.#textDeltas + thought + this.#calls.count;
    const reasoningTokens = completion_tokens_details?.reasoning_tokens ?? thought;
    return {
      promptTokens: prompt_tokens ?? 0,
      imageTokens: 0,
      completionTokens,
      reasoningTokens: Math.min(reasoningTokens, completionTokens),
      droppedTurns: this.#options.droppedTurns,
    };
  }

  #timings(): Timings {
    const now = performance.now();
    const firstAt = this.#firstAt ?? now;
    return {
      queueMs: 0,
      imageMs: 0,
      visionMs: 0,
      prefillMs: firstAt - this.#startedAt,
      decodeMs: now - firstAt,
      totalMs: now - this.#startedAt,
    };
  }

  #cache(): CacheUse {
    const cached = this.#usage?.prompt_tokens_details?.cached_tokens;
    return {
      imageHits: 0,
      imageMisses: this.#options.images,
      ...(cached === undefined ? {} : { promptTokens: cached }),
    };
  }
}

function isReason(reason: FinishReason | NoAnswer): reason is FinishReason {
  return reason !== "cut" && reason !== "filtered" && reason !== "failed";
}
