// What installVlm can be told: the interface people read, the defaults, and the check at the door.

import {
  boolean,
  integer,
  list,
  matching,
  milliseconds,
  nonEmptyText,
  number,
  object,
  oneOf,
  parseOptions,
  positiveOrInfinite,
  text,
  withDefaults,
} from "../parse-options.ts";
import {
  CHATS_SCHEMA,
  type ChatOverridesByChat,
  QUEUE_POLICIES,
  type QueuePolicy,
} from "./chat/chat-settings.ts";
import type { RecentPictureLimits } from "./chat/recent-pictures.ts";
import {
  RESPONDER_SHAPE,
  type ResolvedResponderOptions,
  type ResponderOptions,
  resolveResponderOptions,
} from "./chat/responder-options.ts";
import {
  COMMANDS_SCHEMA,
  type CommandOptions,
  DEFAULT_COMMANDS,
} from "./commands/command-options.ts";
import {
  GATES_SHAPE,
  type GateOptions,
  type ResolvedGateOptions,
  resolveGateOptions,
} from "./gates/gate-options.ts";
import type { ImageFetchLimits } from "./images/fetch-image.ts";
import type { ImageUrlPolicy } from "./images/image-url.ts";
import { DEFAULT_LOGGER, isLogger, type Logger, safeLogger } from "./logger.ts";
import type { IncomingMessage, StickerPolicy } from "./napcat/events.ts";
import { ERROR_FORMS, type ErrorForm } from "./pipeline/failure.ts";
import { HOOKS_SCHEMA, type Hooks } from "./pipeline/hooks.ts";
import type { MergeOptions } from "./pipeline/merge.ts";
import type { AcknowledgeOptions } from "./reply/acknowledge.ts";
import {
  DEFAULT_TRIGGERS,
  TRIGGERS_SCHEMA,
  type TriggerOptions,
  withTriggers,
} from "./triggers/trigger-options.ts";
import type { Triggers } from "./triggers/triggers.ts";

export interface ImageOptions extends ImageFetchLimits, ImageUrlPolicy, RecentPictureLimits {
  /** Most pictures of one turn, quoted ones included. */
  readonly maxPerTurn: number;
  /** Stickers of a message: looked at like any picture, told by their names, or left out. Quoted ones are looked at. */
  readonly stickers: StickerPolicy;
}

export interface ReplyOptions {
  /** Where the first message of an answer quotes the question. */
  readonly quote: "group" | "always" | "never";
  /** Where the first message of an answer mentions who asked. */
  readonly mention: "group" | "never";
  /** Markdown of the model as plain text that reads well, or as it is. */
  readonly markdown: "plain" | "as-is";
  /** Send an answer sentence by sentence while it is written. */
  readonly stream: boolean;
  /** Longer answers become several messages. */
  readonly maxCharacters: number;
  /** Longer ones become a merged forward where NapCat can send one; 0: never. */
  readonly forwardCharacters: number;
  /** Milliseconds from one message of a chat to the next. */
  readonly gapMs: number;
  /** Up to as many more, at random. */
  readonly jitterMs: number;
  /** From this many questions ahead on, an asker is told how many there are; 0: never. */
  readonly queueNoticeFrom: number;
  /** Milliseconds somebody waits before that. */
  readonly queueNoticeAfterMs: number;
  /** How an asker learns that a question could not be answered: a sentence, an emoji on it (in groups), or not at all. */
  readonly errors: ErrorForm;
  /** Signs that the bot is at work. */
  readonly acknowledge: AcknowledgeOptions;
}

/** Added up for each question, from -100 to 100 each; questions with a higher sum go first. */
export interface PriorityOptions {
  /** Private messages. */
  readonly private: number;
  /** Whatever admins ask. */
  readonly admins: number;
}

/** Which message something went wrong with. It holds what people wrote: mind where you keep it. */
export interface ErrorContext {
  readonly message: IncomingMessage;
}

export interface InstallVlmOptions extends ResponderOptions, GateOptions {
  /** When to answer. @default DEFAULT_TRIGGERS */
  readonly triggers?: TriggerOptions;
  /** What is different in some chats. @default nothing */
  readonly chats?: ChatOverridesByChat;
  /** Messages of one person that follow one another become one question. @default DEFAULT_MERGE */
  readonly merge?: Partial<MergeOptions>;
  /** What happens to a question while another one of the chat is being answered. @default "queue" */
  readonly queuePolicy?: QueuePolicy;
  /** Which questions go to the model first. @default DEFAULT_PRIORITY */
  readonly priority?: Partial<PriorityOptions>;
  /** QQ numbers of the people who run the bot. @default none */
  readonly admins?: readonly string[];
  /** What people can type to steer the bot. @default DEFAULT_COMMANDS */
  readonly commands?: Partial<CommandOptions>;
  /** @default DEFAULT_REPLY */
  readonly reply?: Partial<Omit<ReplyOptions, "acknowledge">> & {
    readonly acknowledge?: Partial<AcknowledgeOptions>;
  };
  /** @default DEFAULT_IMAGES */
  readonly images?: Partial<ImageOptions>;
  /** Longest time from a question to its answer, waiting included. @default 300000 */
  readonly turnTimeoutMs?: number;
  /** Older messages are not answered, because QQ replays them after an outage; `Infinity`: all are. @default 60000 */
  readonly maxMessageAgeMs?: number;
  /** Functions that are asked before and after what the bot does. @default none */
  readonly hooks?: Hooks;
  /** Told about every failed turn, for your own error tracking. What it throws is logged. */
  readonly onError?: (error: unknown, context: ErrorContext) => void | Promise<void>;
  /** @default DEFAULT_LOGGER: warnings and errors to the console */
  readonly logger?: Logger;
  /** Aborting closes the bot, as `close()` does. */
  readonly signal?: AbortSignal;
}

export const DEFAULT_MERGE: MergeOptions = { windowMs: 1500, maxMs: 6000, maxPieces: 10 };

export const DEFAULT_PRIORITY: PriorityOptions = { private: 0, admins: 0 };

export const DEFAULT_REPLY: ReplyOptions = {
  quote: "group",
  mention: "never",
  markdown: "plain",
  stream: false,
  maxCharacters: 1500,
  forwardCharacters: 1500,
  gapMs: 500,
  jitterMs: 500,
  queueNoticeFrom: 4,
  queueNoticeAfterMs: 2000,
  errors: "text",
  acknowledge: { afterMs: 2000, receipt: "128064", done: "124", failed: "123" },
};

export const DEFAULT_IMAGES: ImageOptions = {
  maxPerTurn: 4,
  stickers: "see",
  maxBytes: 20 * 1024 * 1024,
  timeoutMs: 20_000,
  concurrency: 4,
  extraHosts: [],
  allowPrivateAddresses: false,
  recentOwnMs: 120_000,
  recentOthersMs: 60_000,
};

const DEFAULT_TURN_TIMEOUT_MS = 300_000;
const DEFAULT_MAX_MESSAGE_AGE_MS = 60_000;

/** As in a URL: a name or an address, and perhaps a port; nothing of a scheme or a path. */
function isHost(value: unknown): boolean {
  if (typeof value !== "string" || !URL.canParse(`http://${value}`)) return false;
  const { host, port } = new URL(`http://${value}`);
  // URL drops the port 80 that nobody needs to write.
  return host === value.toLowerCase() || (port === "" && value.toLowerCase() === `${host}:80`);
}

function isFunction(value: unknown): boolean {
  return typeof value === "function";
}

/** @internal */
export const INSTALL_SCHEMA = object({
  ...RESPONDER_SHAPE,
  ...GATES_SHAPE,
  triggers: TRIGGERS_SCHEMA.optional(),
  chats: CHATS_SCHEMA.optional(),
  merge: object({
    windowMs: integer(0, 2 ** 31 - 1).optional(),
    maxMs: milliseconds().optional(),
    maxPieces: integer(1).optional(),
  }).optional(),
  queuePolicy: oneOf(QUEUE_POLICIES).optional(),
  priority: object({
    private: number(-100, 100).optional(),
    admins: number(-100, 100).optional(),
  }).optional(),
  admins: list(nonEmptyText(), "a list of QQ numbers, as strings").optional(),
  commands: COMMANDS_SCHEMA.optional(),
  reply: object({
    quote: oneOf(["group", "always", "never"]).optional(),
    mention: oneOf(["group", "never"]).optional(),
    markdown: oneOf(["plain", "as-is"]).optional(),
    stream: boolean().optional(),
    maxCharacters: integer(20).optional(),
    forwardCharacters: integer(0).optional(),
    gapMs: integer(0, 600_000).optional(),
    jitterMs: integer(0, 600_000).optional(),
    queueNoticeFrom: integer(0).optional(),
    queueNoticeAfterMs: integer(0, 600_000).optional(),
    errors: oneOf(ERROR_FORMS).optional(),
    acknowledge: object({
      afterMs: integer(0, 2 ** 31 - 1).optional(),
      receipt: text().optional(),
      done: text().optional(),
      failed: text().optional(),
    }).optional(),
  }).optional(),
  images: object({
    maxPerTurn: integer(0).optional(),
    stickers: oneOf(["see", "name", "ignore"]).optional(),
    maxBytes: integer(1).optional(),
    timeoutMs: milliseconds().optional(),
    concurrency: integer(1).optional(),
    extraHosts: list(
      matching<string>("a host such as `img.example.com` or `127.0.0.1:8080`", isHost, "string"),
      "a list of hosts",
    ).optional(),
    allowPrivateAddresses: boolean().optional(),
    recentOwnMs: integer(0).optional(),
    recentOthersMs: integer(0).optional(),
  }).optional(),
  turnTimeoutMs: milliseconds().optional(),
  maxMessageAgeMs: positiveOrInfinite().optional(),
  hooks: HOOKS_SCHEMA.optional(),
  onError: matching<never>("a function", isFunction).optional(),
  logger: matching<Logger>("a logger with debug, info, warn and error", isLogger).optional(),
  signal: matching<AbortSignal>(
    "an AbortSignal",
    (value) => value instanceof AbortSignal,
  ).optional(),
});

export interface ResolvedInstallOptions extends ResolvedGateOptions {
  readonly responder: ResolvedResponderOptions;
  readonly triggers: Triggers;
  readonly queuePolicy: QueuePolicy;
  readonly chats: ChatOverridesByChat;
  readonly merge: MergeOptions;
  readonly priority: PriorityOptions;
  readonly admins: readonly string[];
  readonly commands: CommandOptions;
  readonly reply: ReplyOptions;
  readonly images: ImageOptions;
  readonly turnTimeoutMs: number;
  readonly maxMessageAgeMs: number;
  readonly hooks: Hooks;
  readonly onError: (error: unknown, context: ErrorContext) => void | Promise<void>;
  readonly logger: Logger;
  readonly signal: AbortSignal | undefined;
}

/** @throws {TypeError | RangeError} naming every option that is wrong. */
export function parseInstallOptions(options: InstallVlmOptions): ResolvedInstallOptions {
  parseOptions(INSTALL_SCHEMA, options, "installVlm");
  const { acknowledge, ...rest } = options.reply ?? {};
  return {
    ...resolveGateOptions(options),
    responder: resolveResponderOptions(options),
    triggers: withTriggers(DEFAULT_TRIGGERS, options.triggers),
    queuePolicy: options.queuePolicy ?? "queue",
    chats: options.chats ?? {},
    merge: withDefaults(DEFAULT_MERGE, options.merge),
    priority: withDefaults(DEFAULT_PRIORITY, options.priority),
    admins: options.admins ?? [],
    commands: withDefaults(DEFAULT_COMMANDS, options.commands),
    reply: {
      ...withDefaults(DEFAULT_REPLY, rest),
      acknowledge: withDefaults(DEFAULT_REPLY.acknowledge, acknowledge),
    },
    images: withDefaults(DEFAULT_IMAGES, options.images),
    turnTimeoutMs: options.turnTimeoutMs ?? DEFAULT_TURN_TIMEOUT_MS,
    maxMessageAgeMs: options.maxMessageAgeMs ?? DEFAULT_MAX_MESSAGE_AGE_MS,
    hooks: options.hooks ?? {},
    onError: options.onError ?? (() => {}),
    logger: safeLogger(options.logger ?? DEFAULT_LOGGER),
    signal: options.signal,
  };
}
