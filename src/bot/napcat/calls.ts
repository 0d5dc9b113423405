// Actions in, their data out, each with its own deadline. Whatever goes wrong comes out as a OneBotCallError.
// It knows nothing of what the actions mean. What was sent is never sent again; what only reads, or never left this
// process, may be tried again when the connection is back.

import { setTimeout as sleep } from "node:timers/promises";
import { untilAborted } from "../../abort.ts";
import { type CallOutcome, describeError, OneBotCallError } from "../errors.ts";
import type { NapCatClient } from "./napcat-client.ts";
import { isRecord, numberOf, textOf } from "./wire.ts";

export interface CallOptions {
  /** @default {@link callTimeoutMs} of the action */
  readonly timeoutMs?: number;
  /** Aborting rejects with `signal.reason`. An action that was sent already may still be done. */
  readonly signal?: AbortSignal | undefined;
}

/** NapCat itself gives QQ 10 s, and more for pictures; a message is worth waiting for. */
const SEND_TIMEOUT_MS = 60_000;
/** NapCat lets QQ download for up to 120 s; the time for one picture ends earlier anyway. */
const FILE_TIMEOUT_MS = 60_000;
/** A little more than the 10 s NapCat takes to notice that a message was recalled. */
const READ_TIMEOUT_MS = 12_000;

/** How long an answer waits for a connection that is gone: after an outage, nobody wants to hear of old questions. */
const PATIENCE_MS = 120_000;
const FIRST_PAUSE_MS = 250;
const LONGEST_PAUSE_MS = 2_000;

/** What is said of calls whose answer was lost with the connection. */
const BROKE = "the connection broke";
const CLOSED = "the connection was closed";
const LOST = [BROKE, CLOSED];

/** How long an action may take before it counts as unanswered. */
function callTimeoutMs(action: string): number {
  if (action.startsWith("send_")) return SEND_TIMEOUT_MS;
  if (action === "get_image" || action === "get_file") return FILE_TIMEOUT_MS;
  return READ_TIMEOUT_MS;
}

/** Calls actions of one connection; a broken connection settles them all at once. */
export class NapCatCalls {
  readonly #client: NapCatClient;
  readonly #patient: boolean;
  /** What fails each call that waits for its answer. */
  readonly #pending = new Set<(detail: string) => void>();
  #closed = false;

  /** @param patient calls with a signal and no time of their own outlast a broken connection, until their signal aborts */
  constructor(client: NapCatClient, { patient = false } = {}) {
    this.#client = client;
    this.#patient = patient;
    client.on("socket.close", this.#onSocketClose);
  }

  /** Calls that wait for their answer. */
  get pending(): number {
    return this.#pending.size;
  }

  /**
   * Calls one action.
   *
   * @throws {OneBotCallError} if NapCat refuses it, does not answer in time, or the connection breaks.
   */
  call(action: string, params: object, options: CallOptions = {}): Promise<unknown> {
    if (options.signal?.aborted) return Promise.reject(options.signal.reason);
    if (this.#closed) {
      return Promise.reject(new OneBotCallError(action, "not-sent", CLOSED));
    }
    const { signal, timeoutMs } = options;
    const once = () => untilAborted(this.#call(action, params, options), signal);
    const waits = this.#patient && signal !== undefined && timeoutMs === undefined;
    return waits ? this.#untilConnected(action, once, signal) : once();
  }

  /** Tries again, with growing pauses, as long as only the connection is missing. */
  async #untilConnected(
    action: string,
    once: () => Promise<unknown>,
    signal: AbortSignal,
  ): Promise<unknown> {
    const until = performance.now() + PATIENCE_MS;
    for (let pauseMs = FIRST_PAUSE_MS; ; pauseMs = Math.min(LONGEST_PAUSE_MS, 2 * pauseMs)) {
      try {
        return await once();
      } catch (error) {
        const again = !this.#closed && mayBeRepeated(action, error) && performance.now() < until;
        if (!again) throw error;
        await sleep(pauseMs, undefined, { signal }).catch(() => {});
        signal.throwIfAborted();
      }
    }
  }

  /** Fails whatever is pending, and every later call. Calling it again is fine. */
  close(): void {
    this.#closed = true;
    this.#client.off("socket.close", this.#onSocketClose);
    this.#failPending(CLOSED);
  }

  #call(action: string, params: object, options: CallOptions): Promise<unknown> {
    const timeoutMs = options.timeoutMs ?? callTimeoutMs(action);
    return new Promise((resolve, reject) => {
      const settle = () => {
        clearTimeout(timer);
        options.signal?.removeEventListener("abort", settle);
        this.#pending.delete(giveUp);
      };
      const giveUp = (detail: string) => {
        settle();
        reject(new OneBotCallError(action, "unknown", detail));
      };
      const timer = setTimeout(() => giveUp(`no answer within ${timeoutMs} ms`), timeoutMs);
      options.signal?.addEventListener("abort", settle, { once: true });
      this.#pending.add(giveUp);
      this.#send(action, params).then(resolve, reject).finally(settle);
    });
  }

  /** Nothing a client does, not even a synchronous throw, comes out as anything but a OneBotCallError. */
  async #send(action: string, params: object): Promise<unknown> {
    try {
      return await this.#client.send(action, params);
    } catch (rejection) {
      throw toCallError(action, rejection);
    }
  }

  readonly #onSocketClose = () => this.#failPending(BROKE);

  #failPending(detail: string): void {
    for (const giveUp of [...this.#pending]) giveUp(detail);
  }
}

/** Is it sure that repeating the call does nothing twice, and is a connection all that it lacked? */
function mayBeRepeated(action: string, error: unknown): boolean {
  if (!(error instanceof OneBotCallError)) return false;
  if (error.outcome === "not-sent") return true;
  return action.startsWith("get_") && LOST.some((detail) => error.message.includes(detail));
}

/** Wraps what a client rejects with: node-napcat-ts uses plain objects, others may use errors. */
function toCallError(action: string, rejection: unknown): OneBotCallError {
  if (rejection instanceof OneBotCallError) return rejection;
  if (!isRecord(rejection) || rejection instanceof Error) {
    const options = { cause: rejection };
    return new OneBotCallError(action, "unknown", describeError(rejection), options);
  }
  const detail = textOf(rejection.message) || textOf(rejection.wording);
  const retcode = numberOf(rejection.retcode);
  return new OneBotCallError(action, outcomeOf(retcode, detail), detail, {
    cause: rejection,
    retcode,
  });
}

/** NapCat has one code for everything (1200) and node-napcat-ts another (-1): only the text tells. */
function outcomeOf(retcode: number | undefined, detail: string): CallOutcome {
  if (detail.includes("api socket is not connected")) return "not-sent";
  if (retcode === -1 || retcode === undefined) return "unknown";
  return /timeout|timed out|超时/iu.test(detail) ? "unknown" : "refused";
}
