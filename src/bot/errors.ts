// Every error the bot half throws on purpose. Facts are fields; no message holds chat text, whole URLs or secrets.

import { isVlmError } from "../vlm/index.ts";
import { redact } from "./redact.ts";

const VLM_BOT_ERROR = Symbol.for("napcat-vlm.VlmBotError");

export interface VlmBotErrorOptions {
  readonly cause?: unknown;
}

/** Base of all errors of the bot; `code` tells them apart. */
export abstract class VlmBotError extends Error {
  override readonly name: string = "VlmBotError";
  abstract readonly code: string;
  /** @internal Survives two installed copies of this package, where `instanceof` does not. */
  readonly [VLM_BOT_ERROR] = true;

  constructor(message: string, options: VlmBotErrorOptions = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
  }
}

/** Is this one of the bot's errors, whichever copy of the package threw it? */
export function isVlmBotError(error: unknown): error is VlmBotError {
  return typeof error === "object" && error !== null && VLM_BOT_ERROR in error;
}

/**
 * - `url-refused`: not http(s), not a known host, or an address on a private network
 * - `http-status`: the server said something else than 200
 * - `expired`: the key in QQ's link is too old, wrong or missing
 * - `not-an-image`: bytes came, but not those of a picture
 * - `too-large`: more than `maxBytes`
 * - `timed-out`: the time for this picture was used up
 * - `network`: no connection, or it broke
 * - `unavailable`: nobody offered any bytes
 */
export type ImageFetchErrorCode =
  | "url-refused"
  | "http-status"
  | "expired"
  | "not-an-image"
  | "too-large"
  | "timed-out"
  | "network"
  | "unavailable";

/** A picture could not be downloaded. */
export class ImageFetchError extends VlmBotError {
  override readonly name = "ImageFetchError";
  readonly code: ImageFetchErrorCode;
  /** Host name alone: the rest of a QQ link holds keys. */
  readonly host: string | undefined;
  readonly status: number | undefined;
  readonly maxBytes: number | undefined;

  constructor(
    code: ImageFetchErrorCode,
    message: string,
    options: VlmBotErrorOptions & {
      readonly host?: string | undefined;
      readonly status?: number | undefined;
      readonly maxBytes?: number | undefined;
    } = {},
  ) {
    super(message, options);
    this.code = code;
    this.host = options.host;
    this.status = options.status;
    this.maxBytes = options.maxBytes;
  }
}

/**
 * What is known about a call that failed.
 * - `refused`: NapCat answered that it did not do it
 * - `not-sent`: it never left this process
 * - `unknown`: it was sent, and perhaps done; never repeat a message after this
 */
export type CallOutcome = "refused" | "not-sent" | "unknown";

/** NapCat refused an action, or did not answer. */
export class OneBotCallError extends VlmBotError {
  override readonly name = "OneBotCallError";
  readonly code = "onebot-call-failed";
  readonly action: string;
  readonly outcome: CallOutcome;
  /** OneBot's code; `undefined` when no answer came. */
  readonly retcode: number | undefined;

  constructor(
    action: string,
    outcome: CallOutcome,
    detail: string,
    options: VlmBotErrorOptions & { readonly retcode?: number | undefined } = {},
  ) {
    const code = options.retcode === undefined ? "" : ` (retcode ${options.retcode})`;
    const what = {
      refused: `NapCat refused ${action}${code}`,
      "not-sent": `${action} was not sent`,
      unknown: `NapCat did not confirm ${action}${code}; it may have been done`,
    }[outcome];
    super(detail === "" ? `${what}.` : `${what}: ${redact(detail)}`, options);
    this.action = action;
    this.outcome = outcome;
    this.retcode = options.retcode;
  }
}

export type NapCatConnectionErrorCode = "napcat-auth-failed" | "napcat-closed";

/** A connection to NapCat will not become ready: the token is wrong, or it was closed. */
export class NapCatConnectionError extends VlmBotError {
  override readonly name = "NapCatConnectionError";
  readonly code: NapCatConnectionErrorCode;

  constructor(code: NapCatConnectionErrorCode) {
    super(
      code === "napcat-auth-failed"
        ? "NapCat refused the token. Use the one that is set in its WebSocket server."
        : "The connection to NapCat was closed.",
    );
    this.code = code;
  }
}

/**
 * - `recalled`: the question, or a picture it is about, was taken back
 * - `stopped`: somebody said stop
 * - `muted`: the bot, the whole group or the asker may not speak any more
 * - `kicked`: the bot or the asker is not in the group any more, or the group is gone
 * - `offline`: QQ logged the account out
 * - `replaced`: the asker asked something newer, in a chat where the newest question counts
 * - `paused`: messages to the chat keep failing
 * - `shutdown`: the bot is closing
 * - `deadline`: it took longer than `turnTimeoutMs`
 */
export type CancelReason =
  | "recalled"
  | "stopped"
  | "muted"
  | "kicked"
  | "offline"
  | "replaced"
  | "paused"
  | "shutdown"
  | "deadline";

/** What the signal of a turn aborts with. */
export class TurnCancelledError extends VlmBotError {
  override readonly name = "TurnCancelledError";
  readonly code = "turn-cancelled";
  readonly reason: CancelReason;

  constructor(reason: CancelReason) {
    super(`The turn was ended before its answer: ${reason}.`);
    this.reason = reason;
  }
}

/** A function of the host program threw, or did not answer in time. */
export class HookError extends VlmBotError {
  override readonly name = "HookError";
  readonly code = "hook-failed";
  /** Such as `beforeSend`. */
  readonly hook: string;

  constructor(hook: string, timedOut: boolean, options: VlmBotErrorOptions = {}) {
    super(`The hook ${hook} ${timedOut ? "did not answer in time" : "threw an error"}.`, options);
    this.hook = hook;
  }
}

/** An error for a log. What a stranger's error says may hold anything: only its name and code are shown. */
export function describeError(error: unknown): string {
  if (isVlmBotError(error) || isVlmError(error)) {
    return `${error.name} (${error.code}): ${redact(withoutWording(error))}`;
  }
  if (!(error instanceof Error)) return typeof error;
  const code = "code" in error && typeof error.code === "string" ? ` (${redact(error.code)})` : "";
  return `${error.name}${code}`;
}

/** NapCat's wording of a refusal is a stranger's too: of it, only QQ's number of the error is shown. */
function withoutWording(error: Error): string {
  const { message, cause } = error;
  if (error.name !== "OneBotCallError" || cause === undefined || cause instanceof Error) {
    return message;
  }
  const end = message.indexOf(": ");
  if (end < 0) return message;
  const [number] = /\b(?:result|code)\D{0,3}-?\d{1,6}\b/iu.exec(message.slice(end)) ?? [];
  return message.slice(0, end) + (number === undefined ? "." : `: ${number}.`);
}
