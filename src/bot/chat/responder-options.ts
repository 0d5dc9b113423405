// What a Responder can be told, the defaults, and the check at the door. installVlm passes these options through.

import {
  integer,
  matching,
  object,
  oneOf,
  optionalRecord,
  parseOptions,
  text,
  withDefaults,
} from "../../parse-options.ts";
import { SAMPLING_SHAPE } from "../../sampling-shape.ts";
import type { SamplingOptions, VisionLanguageModel } from "../../vlm/index.ts";
import {
  DEFAULT_PHRASES,
  DEFAULT_SYSTEM_PROMPT,
  type Phrases,
  withPhrases,
} from "../reply/phrases.ts";
import type { ChatStore } from "../store/chat-store.ts";
import type { BotTool } from "../tools/bot-tool.ts";
import {
  DEFAULT_TOOL_LIMITS,
  TOOL_LIMITS_SCHEMA,
  TOOLS_SCHEMA,
  type ToolLimits,
} from "../tools/tool-options.ts";
import type { HistoryLimits } from "./conversations.ts";
import { ISOLATIONS, type Isolation } from "./history-key.ts";

export interface ResponderOptions {
  /** What sees and answers: `await loadQwen3Vl(...)`, or anything with the same interface. */
  readonly model: VisionLanguageModel;
  /** First message of every prompt; `""` for none. @default DEFAULT_SYSTEM_PROMPT */
  readonly systemPrompt?: string;
  /** Other words for some of the sentences people or the model see. @default DEFAULT_PHRASES */
  readonly phrases?: Partial<Phrases>;
  /** How much of a chat is remembered. @default DEFAULT_HISTORY */
  readonly history?: Partial<HistoryLimits>;
  /** Who shares a past. Each way has its own: changing it and back loses none. @default "chat" */
  readonly isolation?: Isolation;
  /** Where pasts outlive the process: `await openChatStore(...)`, closed by the caller. @default memory only */
  readonly store?: ChatStore | undefined;
  /** Most tokens of one answer, reasoning included. @default what the model decides */
  readonly maxTokens?: number | undefined;
  /** Tokens after which a thought is closed, so that an answer follows. @default what the model decides */
  readonly maxReasoningTokens?: number | undefined;
  /** How tokens are chosen. @default what the checkpoint says */
  readonly sampling?: SamplingOptions;
  /** What the model may have done for it. @default none */
  readonly tools?: readonly BotTool[];
  /** @default DEFAULT_TOOL_LIMITS */
  readonly toolLimits?: Partial<ToolLimits>;
  /** Most turns that wait in all chats together. @default 20 */
  readonly maxQueue?: number;
  /** Most turns that wait in one chat, besides the one that is being answered. @default 3 */
  readonly maxQueuePerChat?: number;
}

export const DEFAULT_HISTORY: HistoryLimits = {
  maxTurns: 20,
  maxTokens: 8000,
  maxImages: 12,
  maxImageBytes: 32 * 1024 * 1024,
  maxChats: 500,
  maxTotalBytes: 256 * 1024 * 1024,
};

const isFunction = (value: unknown) => typeof value === "function";

function isModel(value: unknown): boolean {
  return typeof value === "object" && value !== null && isFunction(Reflect.get(value, "stream"));
}

function isStore(value: unknown): boolean {
  return (
    typeof value === "object" &&
    value !== null &&
    typeof Reflect.get(value, "histories") === "object"
  );
}

function phraseSchema(phrase: Phrases[keyof Phrases]) {
  if (typeof phrase === "string") return text().optional();
  if (typeof phrase === "object") return optionalRecord(text());
  return matching<never>("a function that returns a string", isFunction).optional();
}

/**
 * The checks of {@link ResponderOptions}, for whoever takes these options among others.
 *
 * @internal
 */
export const RESPONDER_SHAPE = {
  model: matching<VisionLanguageModel>("a VisionLanguageModel", isModel),
  systemPrompt: text().optional(),
  phrases: object(
    Object.fromEntries(
      Object.entries(DEFAULT_PHRASES).map(([key, phrase]) => [key, phraseSchema(phrase)]),
    ),
  ).optional(),
  history: object({
    maxTurns: integer(0).optional(),
    maxTokens: integer(0).optional(),
    maxImages: integer(0).optional(),
    maxImageBytes: integer(0).optional(),
    maxChats: integer(1).optional(),
    maxTotalBytes: integer(1).optional(),
  }).optional(),
  isolation: oneOf(ISOLATIONS).optional(),
  store: matching<ChatStore>("what `openChatStore` returns", isStore).optional(),
  maxTokens: integer(1).optional(),
  maxReasoningTokens: integer(0).optional(),
  sampling: object(SAMPLING_SHAPE).optional(),
  tools: TOOLS_SCHEMA.optional(),
  toolLimits: TOOL_LIMITS_SCHEMA.optional(),
  maxQueue: integer(0).optional(),
  maxQueuePerChat: integer(0).optional(),
};

export interface ResolvedResponderOptions {
  readonly model: VisionLanguageModel;
  readonly systemPrompt: string;
  readonly phrases: Phrases;
  readonly history: HistoryLimits;
  readonly isolation: Isolation;
  readonly store: ChatStore | undefined;
  readonly maxTokens: number | undefined;
  readonly maxReasoningTokens: number | undefined;
  readonly sampling: SamplingOptions;
  readonly tools: readonly BotTool[];
  readonly toolLimits: ToolLimits;
  readonly maxQueue: number;
  readonly maxQueuePerChat: number;
}

/** @throws {TypeError | RangeError} naming every option that is wrong. */
export function parseResponderOptions(options: ResponderOptions): ResolvedResponderOptions {
  parseOptions(object(RESPONDER_SHAPE), options, "Responder");
  return resolveResponderOptions(options);
}

/** Completes options that were checked already. */
export function resolveResponderOptions(options: ResponderOptions): ResolvedResponderOptions {
  return {
    model: options.model,
    systemPrompt: options.systemPrompt ?? DEFAULT_SYSTEM_PROMPT,
    phrases: withPhrases(options.phrases),
    history: withDefaults(DEFAULT_HISTORY, options.history),
    isolation: options.isolation ?? "chat",
    store: options.store,
    maxTokens: options.maxTokens,
    maxReasoningTokens: options.maxReasoningTokens,
    sampling: options.sampling ?? {},
    tools: options.tools ?? [],
    toolLimits: withDefaults(DEFAULT_TOOL_LIMITS, options.toolLimits),
    maxQueue: options.maxQueue ?? 20,
    maxQueuePerChat: options.maxQueuePerChat ?? 3,
  };
}
