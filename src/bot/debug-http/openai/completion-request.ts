// A body of `POST /v1/chat/completions` in, a request of the seam out, or a refusal that names the field.
// As tolerant as the servers that clients are used to: unknown keys pass, `null` is as good as left out. What would change
// the answer and cannot be done is refused.

import { z } from "zod";
import type { GenerateRequest } from "../../../vlm/index.ts";
import type { DebugServerLimits } from "../limits.ts";
import { FORM_FIELDS, toResponseFormat } from "./answer-form.ts";
import { badField, refuseField } from "./bad-field.ts";
import { MOST_CHOICES } from "./choices.ts";
import { MESSAGES, toMessages } from "./completion-messages.ts";
import { TOOL_FIELDS, toTools } from "./completion-tools.ts";
import { FLAG, given, optional } from "./optional-field.ts";

export interface CompletionRequest {
  readonly request: Omit<GenerateRequest, "signal">;
  readonly stream: boolean;
  readonly includeUsage: boolean;
  /** How many answers are wanted. */
  readonly count: number;
}

const PENALTY = optional(z.number().min(-2).max(2));

const BODY = z.looseObject({
  messages: MESSAGES,
  ...TOOL_FIELDS,
  ...FORM_FIELDS,
  stop: optional(z.union([z.string(), z.array(z.string())])),
  max_tokens: optional(z.int().min(1)),
  max_completion_tokens: optional(z.int().min(1)),
  temperature: optional(z.number().min(0).max(2)),
  top_p: optional(z.number().min(0).max(1)),
  top_k: optional(z.int().min(-1)),
  min_p: optional(z.number().min(0).max(1)),
  presence_penalty: PENALTY,
  frequency_penalty: PENALTY,
  repetition_penalty: optional(z.number().gt(0)),
  // Clients draw it from 64 bits, more than a number of JavaScript holds exactly.
  seed: optional(z.number().refine(Number.isInteger, "it is not a whole number")),
  n: optional(z.int().min(1).max(MOST_CHOICES)),
  logprobs: optional(z.boolean()),
  top_logprobs: optional(z.int().min(0).max(20)),
  logit_bias: optional(z.record(z.string(), z.number())),
  modalities: optional(z.array(z.string())),
  functions: optional(z.array(z.unknown())),
  // vLLM's and SGLang's names.
  continue_final_message: optional(z.boolean()),
  chat_template_kwargs: optional(z.looseObject({ enable_thinking: optional(FLAG) })),
  // Names under which clouds take the same.
  enable_thinking: optional(FLAG),
  thinking_budget: optional(z.int().min(0)),
  reasoning_effort: optional(z.string()),
  stream: optional(z.boolean()),
  stream_options: optional(z.looseObject({ include_usage: optional(z.boolean()) })),
});

type Body = z.output<typeof BODY>;

/** @throws {RequestError} 400 or 413, with the name of the field and nothing of what stands in it */
export function parseCompletionRequest(
  json: unknown,
  limits: DebugServerLimits,
): CompletionRequest {
  const parsed = BODY.safeParse(json);
  if (!parsed.success) throw badField(parsed.error.issues[0]!);
  const body = parsed.data;
  refuseTheImpossible(body);
  const tools = toTools(body);
  // A call that has to be made has the form of its tool.
  const forced = tools.toolChoice === "required" || typeof tools.toolChoice === "object";
  const topP = body.top_p === 0 ? undefined : body.top_p;
  return {
    request: {
      messages: toMessages(body.messages, limits),
      ...tools,
      ...given("responseFormat", forced ? undefined : toResponseFormat(body)),
      ...given("maxTokens", body.max_completion_tokens ?? body.max_tokens),
      ...given("maxReasoningTokens", reasoningTokens(body)),
      ...given("stop", toStop(body.stop)),
      ...given("topLogprobs", body.logprobs ? (body.top_logprobs ?? 0) : undefined),
      ...given("continueAnswer", begunAnswer(body, forced) || undefined),
      // Nothing but the likeliest token is what `top_p` 0 means.
      ...given("temperature", body.top_p === 0 ? 0 : body.temperature),
      ...given("topP", topP),
      ...given("topK", body.top_k === -1 ? 0 : body.top_k),
      ...given("minP", body.min_p),
      ...given("presencePenalty", body.presence_penalty),
      ...given("frequencyPenalty", body.frequency_penalty),
      ...given("repetitionPenalty", body.repetition_penalty),
      ...given("seed", toSeed(body.seed)),
    },
    stream: body.stream ?? false,
    includeUsage: body.stream_options?.include_usage ?? false,
    count: body.n ?? 1,
  };
}

/** What a client would miss in the answer, if it were passed over like an unknown key. */
function refuseTheImpossible(body: Body): void {
  if (body.top_logprobs !== undefined && !body.logprobs) {
    throw refuseField("top_logprobs", "it needs `logprobs` to be true");
  }
  if (Object.values(body.logit_bias ?? {}).some((bias) => bias !== 0)) {
    throw refuseField("logit_bias", "tokens have other numbers in every model");
  }
  if (body.modalities?.some((modality) => modality !== "text")) {
    throw refuseField("modalities", "answers are text");
  }
  if (body.functions !== undefined && body.functions.length > 0) {
    throw refuseField("functions", "functions are given as `tools`");
  }
}

/** The last message is the beginning of the answer: because the request says so, or because nobody has asked since. */
function begunAnswer({ messages, continue_final_message: said }: Body, forced: boolean): boolean {
  const index = messages.length - 1;
  const last = messages[index]!;
  const field = `messages.${index}`;
  if (last.role !== "assistant") {
    if (!said) return false;
    throw refuseField("continue_final_message", "the last message is not the assistant's");
  }
  if (last.tool_calls?.length) {
    throw refuseField(`${field}.tool_calls`, "the results of its calls have to follow");
  }
  if (forced) {
    throw refuseField(
      "tool_choice",
      "the last message is the beginning of an answer, which is no call",
    );
  }
  return true;
}

/** Undefined: as many as the model takes. */
function reasoningTokens(body: Body): number | undefined {
  const { chat_template_kwargs: template, reasoning_effort: effort } = body;
  const thinks = template?.enable_thinking ?? body.enable_thinking ?? effort !== "none";
  return thinks ? body.thinking_budget : 0;
}

/** An empty string never stops anything. */
function toStop(stop: Body["stop"]): readonly string[] | undefined {
  const strings = [stop ?? []].flat().filter((text) => text !== "");
  return strings.length === 0 ? undefined : strings;
}

/** The same number for the same seed, among those that are held exactly. */
function toSeed(seed: number | undefined): number | undefined {
  return seed === undefined ? undefined : Math.abs(seed) % Number.MAX_SAFE_INTEGER;
}
