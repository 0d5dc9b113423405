// What connectNapCat can be told: the interface people read, the defaults, and the check at the door.

import { matching, milliseconds, object, parseOptions } from "../../parse-options.ts";
import { DEFAULT_LOGGER, isLogger, type Logger, safeLogger } from "../logger.ts";

export interface ConnectNapCatOptions {
  /** Address of NapCat's WebSocket server, such as `ws://127.0.0.1:3001`. */
  readonly url: string;
  /** The token set in NapCat; it is encoded here. @default none */
  readonly token?: string | undefined;
  /** First pause after a lost connection; it doubles with every failure. @default 1000 */
  readonly minDelayMs?: number;
  /** Longest pause between two attempts; there is no end to attempts. @default 30000 */
  readonly maxDelayMs?: number;
  /** Pause after a wrong token, which somebody has to correct. @default 60000 */
  readonly authRetryMs?: number;
  /** Longest time until an attempt is connected and the token is proven. @default 10000 */
  readonly connectTimeoutMs?: number;
  /** Time between heartbeats, until NapCat says how long it is. @default 30000 */
  readonly heartbeatMs?: number;
  /** @default DEFAULT_LOGGER: warnings and errors to the console */
  readonly logger?: Logger;
  /** Aborting closes the connection, as `close()` does. */
  readonly signal?: AbortSignal | undefined;
}

export type ResolvedConnectOptions = Required<Omit<ConnectNapCatOptions, "token" | "signal">> & {
  readonly token: string;
  readonly signal: AbortSignal | undefined;
};

/** What {@link isServerUrl} takes, in words. */
export const SERVER_URL = "a ws:// or wss:// address without a query, a password or the path /api";

/** node-napcat-ts appends a query itself, and events do not come on the path `/api`. */
export function isServerUrl(value: unknown): boolean {
  if (typeof value !== "string" || !URL.canParse(value)) return false;
  const url = new URL(value);
  return (
    (url.protocol === "ws:" || url.protocol === "wss:") &&
    url.username === "" &&
    url.password === "" &&
    !/[?#]/u.test(value) &&
    !/^\/api\/?$/u.test(url.pathname)
  );
}

/** @internal */
export const CONNECT_SCHEMA = object({
  url: matching<string>(SERVER_URL, isServerUrl, "string"),
  token: matching<string>(
    "a string of whole characters",
    // Half a surrogate pair cannot be part of an address.
    (value) => typeof value === "string" && value.isWellFormed(),
    "string",
  ).optional(),
  minDelayMs: milliseconds().optional(),
  maxDelayMs: milliseconds().optional(),
  authRetryMs: milliseconds().optional(),
  connectTimeoutMs: milliseconds().optional(),
  heartbeatMs: milliseconds().optional(),
  logger: matching<Logger>("a logger with debug, info, warn and error", isLogger).optional(),
  signal: matching<AbortSignal>(
    "an AbortSignal",
    (value) => value instanceof AbortSignal,
  ).optional(),
});

/** @throws {TypeError | RangeError} naming every option that is wrong. */
export function parseConnectOptions(options: ConnectNapCatOptions): ResolvedConnectOptions {
  parseOptions(CONNECT_SCHEMA, options, "connectNapCat");
  return {
    url: options.url,
    token: options.token ?? "",
    minDelayMs: options.minDelayMs ?? 1_000,
    maxDelayMs: options.maxDelayMs ?? 30_000,
    authRetryMs: options.authRetryMs ?? 60_000,
    connectTimeoutMs: options.connectTimeoutMs ?? 10_000,
    heartbeatMs: options.heartbeatMs ?? 30_000,
    logger: safeLogger(options.logger ?? DEFAULT_LOGGER),
    signal: options.signal,
  };
}
