// What a caller may ask in one request, checked once at the door and completed with defaults.
// It knows nothing of what loads or serves a model.

import {
  abortSignal,
  boolean,
  callback,
  either,
  integer,
  kindsOf,
  list,
  literal,
  matching,
  nonEmptyText,
  number,
  object,
  oneOf,
  openObject,
  parseOptions,
  unexpected,
} from "../parse-options.ts";
import { SAMPLING_SHAPE } from "../sampling-shape.ts";
import { BEGUN_MESSAGES_SCHEMA, MESSAGES_SCHEMA } from "./chat-messages.ts";
import type { GenerationDefaults } from "./checkpoint/generation-config.ts";
import { knownTools } from "./text/tool-call-text.ts";
import type {
  ChatMessage,
  ForgetRequest,
  GenerateRequest,
  ResponseFormat,
  SamplingOptions,
  ToolChoice,
  WarmRequest,
} from "./vision-language-model.ts";

export const DEFAULT_MAX_TOKENS = 1024;
/** Of a thought; a Thinking model has as much again for its answer. */
const DEFAULT_MAX_REASONING_TOKENS = 1024;

/** As many as servers of OpenAI's interface show. */
export const MOST_LOGPROBS = 20;

/** What decides the prompt of a request. */
export interface ResolvedPrompt {
  readonly messages: readonly ChatMessage[];
  /** Those that may be called: none where the request says so. */
  readonly tools: readonly Readonly<Record<string, unknown>>[];
  readonly maxTokens: number;
  /** The last message is the beginning of the answer. */
  readonly continueAnswer?: boolean | undefined;
  readonly chat: string | undefined;
}

export interface ResolvedRequest extends ResolvedPrompt {
  readonly toolChoice: ToolChoice;
  readonly parallelToolCalls: boolean;
  readonly responseFormat?: ResponseFormat | undefined;
  readonly sampling: Required<SamplingOptions>;
  readonly maxReasoningTokens: number;
  readonly stop: readonly string[];
  readonly topLogprobs?: number | undefined;
  readonly priority: number;
  readonly onQueue: ((position: number) => void) | undefined;
}

const REQUEST_SCHEMA = object({
  messages: MESSAGES_SCHEMA,
  tools: list(openObject({}, "an object"), "an array").optional(),
  toolChoice: either(
    [oneOf(["auto", "none", "required"]), object({ name: nonEmptyText() })],
    '"auto", "none", "required" or an object with the name of a tool',
  ).optional(),
  parallelToolCalls: boolean().optional(),
  responseFormat: kindsOf(
    "type",
    [
      object({
        type: literal("json"),
        schema: either([boolean(), openObject({}, "an object")], "a JSON schema").optional(),
      }),
      object({ type: literal("regex"), pattern: nonEmptyText() }),
      object({
        type: literal("choice"),
        options: matching<readonly string[]>("a list of different non-empty strings", isChoice),
      }),
    ],
    ["json", "regex", "choice"],
    "an object with a type",
  ).optional(),
  maxTokens: integer(1).optional(),
  maxReasoningTokens: integer(0).optional(),
  stop: either(
    [nonEmptyText(), list(nonEmptyText(), "an array")],
    "a non-empty string or an array of them",
  ).optional(),
  topLogprobs: integer(0, MOST_LOGPROBS).optional(),
  continueAnswer: boolean().optional(),
  signal: abortSignal().optional(),
  chat: nonEmptyText().optional(),
  priority: number(-100, 100).optional(),
  onQueue: callback().optional(),
  ...SAMPLING_SHAPE,
});

const BEGUN_REQUEST_SCHEMA = REQUEST_SCHEMA.extend({ messages: BEGUN_MESSAGES_SCHEMA });

/**
 * @throws {TypeError | RangeError} naming every option that is wrong, what was expected and what came; never what a
 *   message says
 */
export function checkRequest(request: GenerateRequest): void {
  const schema = request?.continueAnswer === true ? BEGUN_REQUEST_SCHEMA : REQUEST_SCHEMA;
  parseOptions(schema, request, "the request");
  checkToolChoice(request.toolChoice ?? "auto", request.tools ?? []);
  checkOneForm(request);
  checkBeginning(request);
}

/** @throws {TypeError | RangeError} as {@link checkRequest} does */
export function resolveRequest(
  request: GenerateRequest,
  defaults: GenerationDefaults,
  { thinking }: { readonly thinking: boolean } = { thinking: false },
): ResolvedRequest {
  checkRequest(request);
  const { tools = [], toolChoice = "auto" } = request;
  return {
    messages: request.messages,
    tools: toolChoice === "none" ? [] : tools,
    toolChoice,
    parallelToolCalls: request.parallelToolCalls ?? true,
    responseFormat: request.responseFormat,
    sampling: {
      temperature: request.temperature ?? (defaults.doSample ? defaults.temperature : 0),
      topP: request.topP ?? defaults.topP,
      topK: request.topK ?? defaults.topK,
      minP: request.minP ?? defaults.minP,
      repetitionPenalty: request.repetitionPenalty ?? defaults.repetitionPenalty,
      presencePenalty: request.presencePenalty ?? 0,
      frequencyPenalty: request.frequencyPenalty ?? 0,
      seed: request.seed ?? Math.floor(Math.random() * 2 ** 32),
    },
    maxTokens: maxTokensOf(request, thinking),
    maxReasoningTokens: request.maxReasoningTokens ?? DEFAULT_MAX_REASONING_TOKENS,
    stop: typeof request.stop === "string" ? [request.stop] : (request.stop ?? []),
    topLogprobs: request.topLogprobs,
    continueAnswer: request.continueAnswer,
    chat: request.chat,
    priority: request.priority ?? 0,
    onQueue: request.onQueue,
  };
}

const WARM_SCHEMA = REQUEST_SCHEMA.pick({
  messages: true,
  tools: true,
  maxTokens: true,
  signal: true,
  chat: true,
});

/** @throws {TypeError | RangeError} as {@link resolveRequest} does */
export function resolveWarmRequest(
  request: WarmRequest,
  { thinking }: { readonly thinking: boolean },
): ResolvedPrompt {
  parseOptions(WARM_SCHEMA, request, "the request");
  return {
    messages: request.messages,
    tools: request.tools ?? [],
    maxTokens: maxTokensOf(request, thinking),
    chat: request.chat,
  };
}

const FORGET_SCHEMA = object({
  images: list(
    matching<string | Uint8Array>("the bytes of a picture or their SHA-256", isPicture),
    "an array",
  ).optional(),
  chat: nonEmptyText().optional(),
});

/** @throws TypeError naming what is wrong, what was expected and what came */
export function checkForgetRequest(request: ForgetRequest): void {
  parseOptions(FORGET_SCHEMA, request, "forget");
}

function isPicture(value: unknown): boolean {
  return (
    value instanceof Uint8Array || (typeof value === "string" && /^[0-9a-f]{64}$/u.test(value))
  );
}

function isChoice(value: unknown): boolean {
  return (
    Array.isArray(value) &&
    value.length > 0 &&
    value.every((option) => typeof option === "string" && option !== "") &&
    new Set(value).size === value.length
  );
}

/** What has to be called must be there. @throws TypeError */
function checkToolChoice(choice: ToolChoice, tools: ResolvedRequest["tools"]): void {
  const names = knownTools(tools).map(({ name }) => name);
  if (choice === "required" && names.length === 0) {
    throw new TypeError(
      unexpected("tools", "a list of tools, because one has to be called", tools),
    );
  }
  if (typeof choice === "object" && !names.includes(choice.name)) {
    const expected = names.length === 0 ? "left out without tools" : `one of ${names.join(", ")}`;
    throw new TypeError(unexpected("toolChoice.name", expected, choice.name));
  }
}

/** A call that has to be made is no answer of some form. @throws TypeError */
function checkOneForm({ responseFormat, toolChoice }: GenerateRequest): void {
  const forced = toolChoice === "required" || typeof toolChoice === "object";
  if (responseFormat === undefined || !forced) return;
  const expected = "left out, because a tool has to be called";
  throw new TypeError(unexpected("responseFormat", expected, responseFormat));
}

/** An answer that has begun is no call any more. @throws TypeError */
function checkBeginning({ continueAnswer, toolChoice }: GenerateRequest): void {
  const forced = toolChoice === "required" || typeof toolChoice === "object";
  if (!continueAnswer || !forced) return;
  const expected = "left out, because a tool has to be called";
  throw new TypeError(unexpected("continueAnswer", expected, continueAnswer));
}

function maxTokensOf({ maxTokens }: { readonly maxTokens?: number }, thinking: boolean): number {
  return maxTokens ?? DEFAULT_MAX_TOKENS + (thinking ? DEFAULT_MAX_REASONING_TOKENS : 0);
}
