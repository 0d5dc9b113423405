// What installVlm can be told: the interface people read, the defaults, and the check at the door.

import {
  boolean,
  integer,
  list,
  matching,
  milliseconds,
  object,
  oneOf,
  parseOptions,
  withDefaults,
} from "../parse-options.ts";
import {
  RESPONDER_SHAPE,
  type ResolvedResponderOptions,
  type ResponderOptions,
  resolveResponderOptions,
} from "./chat/responder-options.ts";
import type { ImageFetchLimits } from "./images/fetch-image.ts";
import type { ImageUrlPolicy } from "./images/image-url.ts";
import { DEFAULT_LOGGER, isLogger, type Logger, safeLogger } from "./logger.ts";
import type { IncomingMessage } from "./napcat/events.ts";
import type { MergeOptions } from "./pipeline/merge.ts";
import type { GroupTrigger, Triggers } from "./triggers/triggers.ts";

export interface ImageOptions extends ImageFetchLimits, ImageUrlPolicy {
  /** Most pictures of one turn, quoted ones included. */
  readonly maxPerTurn: number;
}

export interface ReplyOptions {
  /** Where the first message of an answer quotes the question. */
  readonly quote: "group" | "always" | "never";
  /** Longer answers become several messages. */
  readonly maxCharacters: number;
}

/** Which message something went wrong with. It holds what people wrote: mind where you keep it. */
export interface ErrorContext {
  readonly message: IncomingMessage;
}

export interface InstallVlmOptions extends ResponderOptions {
  /** When to answer. @default DEFAULT_TRIGGERS */
  readonly triggers?: Partial<Triggers>;
  /** Messages of one person that follow one another become one question. @default DEFAULT_MERGE */
  readonly merge?: Partial<MergeOptions>;
  /** @default DEFAULT_REPLY */
  readonly reply?: Partial<ReplyOptions>;
  /** @default DEFAULT_IMAGES */
  readonly images?: Partial<ImageOptions>;
  /** Longest time from a question to its answer, waiting included. @default 300000 */
  readonly turnTimeoutMs?: number;
  /** Older messages are not answered, because QQ replays them after an outage; `Infinity`: all are. @default 120000 */
  readonly maxMessageAgeMs?: number;
  /** Told about every failed turn, for your own error tracking. What it throws is logged. */
  readonly onError?: (error: unknown, context: ErrorContext) => void | Promise<void>;
  /** @default DEFAULT_LOGGER: warnings and errors to the console */
  readonly logger?: Logger;
  /** Aborting closes the bot, as `close()` does. */
  readonly signal?: AbortSignal;
}

export const DEFAULT_TRIGGERS: Triggers = { group: ["mention", "quote"], private: true };

export const DEFAULT_MERGE: MergeOptions = { windowMs: 1500, maxMs: 6000, maxPieces: 10 };

export const DEFAULT_REPLY: ReplyOptions = { quote: "group", maxCharacters: 1500 };

export const DEFAULT_IMAGES: ImageOptions = {
  maxPerTurn: 4,
  maxBytes: 20 * 1024 * 1024,
  timeoutMs: 20_000,
  concurrency: 4,
  extraHosts: [],
  allowPrivateAddresses: false,
};

const DEFAULT_TURN_TIMEOUT_MS = 300_000;
const DEFAULT_MAX_MESSAGE_AGE_MS = 120_000;

const GROUP_TRIGGERS = ["mention", "quote", "any"] as const satisfies readonly GroupTrigger[];

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

const INSTALL_SCHEMA = object({
  ...RESPONDER_SHAPE,
  triggers: object({
    group: list(oneOf(GROUP_TRIGGERS), "a list of triggers").optional(),
    private: boolean().optional(),
  }).optional(),
  merge: object({
    windowMs: integer(0, 2 ** 31 - 1).optional(),
    maxMs: milliseconds().optional(),
    maxPieces: integer(1).optional(),
  }).optional(),
  reply: object({
    quote: oneOf(["group", "always", "never"]).optional(),
    maxCharacters: integer(20).optional(),
  }).optional(),
  images: object({
    maxPerTurn: integer(0).optional(),
    maxBytes: integer(1).optional(),
    timeoutMs: milliseconds().optional(),
    concurrency: integer(1).optional(),
    extraHosts: list(
      matching<string>("a host such as `img.example.com` or `127.0.0.1:8080`", isHost),
      "a list of hosts",
    ).optional(),
    allowPrivateAddresses: boolean().optional(),
  }).optional(),
  turnTimeoutMs: milliseconds().optional(),
  maxMessageAgeMs: matching<number>(
    "a number > 0, or Infinity",
    (value) => typeof value === "number" && value > 0,
  ).optional(),
  onError: matching<never>("a function", isFunction).optional(),
  logger: matching<Logger>("a logger with debug, info, warn and error", isLogger).optional(),
  signal: matching<AbortSignal>(
    "an AbortSignal",
    (value) => value instanceof AbortSignal,
  ).optional(),
});

export interface ResolvedInstallOptions {
  readonly responder: ResolvedResponderOptions;
  readonly triggers: Triggers;
  readonly merge: MergeOptions;
  readonly reply: ReplyOptions;
  readonly images: ImageOptions;
  readonly turnTimeoutMs: number;
  readonly maxMessageAgeMs: number;
  readonly onError: (error: unknown, context: ErrorContext) => void | Promise<void>;
  readonly logger: Logger;
  readonly signal: AbortSignal | undefined;
}

/** @throws {TypeError | RangeError} naming every option that is wrong. */
export function parseInstallOptions(options: InstallVlmOptions): ResolvedInstallOptions {
  parseOptions(INSTALL_SCHEMA, options, "installVlm");
  return {
    responder: resolveResponderOptions(options),
    triggers: withDefaults(DEFAULT_TRIGGERS, options.triggers),
    merge: withDefaults(DEFAULT_MERGE, options.merge),
    reply: withDefaults(DEFAULT_REPLY, options.reply),
    images: withDefaults(DEFAULT_IMAGES, options.images),
    turnTimeoutMs: options.turnTimeoutMs ?? DEFAULT_TURN_TIMEOUT_MS,
    maxMessageAgeMs: options.maxMessageAgeMs ?? DEFAULT_MAX_MESSAGE_AGE_MS,
    onError: options.onError ?? (() => {}),
    logger: safeLogger(options.logger ?? DEFAULT_LOGGER),
    signal: options.signal,
  };
}
