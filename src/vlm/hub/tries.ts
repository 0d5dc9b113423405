// Trying again what may work a moment later. In: an attempt. Out: what it gives, or the error that no retry mends. It
// knows statuses and headers that ask for patience, pauses, and what counts as progress; never a wall clock.

import { setTimeout as pause } from "node:timers/promises";
import { codeOf, DiskError } from "../../disk-error.ts";
import { PullError } from "../errors.ts";
import type { HttpAnswer } from "./http-client.ts";
import { ProxyError } from "./proxy-error.ts";
import { RedirectError } from "./redirects.ts";

/** How patient a pull is; tests are less so. */
export interface Pace {
  /** Without a byte, or nearly: then a connection is given up. */
  readonly patienceMs: number;
  /** Before the first new try; doubles each time. */
  readonly pauseMs: number;
  /** Tries in a row that bring nothing. */
  readonly tries: number;
}

export const USUAL_PACE: Pace = { patienceMs: 10_000, pauseMs: 1_000, tries: 5 };

export interface Waiting {
  readonly milliseconds: number;
  /** Such as "modelscope.cn answered HTTP 503". */
  readonly why: string;
}

/** Trouble that may pass: a server that is busy, a line that broke. */
export class PassingError extends Error {
  override readonly name = "PassingError";
  readonly status: number | undefined;
  /** How long the server wants to be left alone. */
  readonly waitMs: number | undefined;

  constructor(
    message: string,
    options: { readonly status?: number; readonly waitMs?: number | undefined } = {},
  ) {
    super(message);
    this.status = options.status;
    this.waitMs = options.waitMs;
  }
}

/** Longer than this nobody waits at a terminal; the command can be given again. */
const LONGEST_WAIT_MS = 330_000;
const LONGEST_PAUSE_MS = 30_000;
const BUSY = new Set([408, 425, 429, 500, 502, 503, 504]);

export interface TriesOptions {
  readonly host: string;
  readonly pace: Pace;
  readonly signal: AbortSignal;
  readonly onWait: (waiting: Waiting) => void;
}

/**
 * Runs an attempt until it gives something.
 *
 * @param progress grows with what attempts bring; an attempt that brought something does not count as idle
 * @throws PullError, DiskError, the signal's reason
 */
export async function insist<T>(
  attempt: () => Promise<T>,
  { host, pace, signal, onWait }: TriesOptions,
  progress: () => number = () => 0,
): Promise<T> {
  for (let idle = 0; ; ) {
    signal.throwIfAborted();
    const before = progress();
    try {
      return await attempt();
    } catch (error) {
      signal.throwIfAborted();
      if (isFinal(error)) throw inFinalWords(error);
      idle = progress() > before ? 1 : idle + 1;
      if (idle >= pace.tries) throw givenUp(error, host);
      const milliseconds =
        waitOf(error) ?? Math.min(pace.pauseMs * 2 ** (idle - 1), LONGEST_PAUSE_MS);
      if (milliseconds > LONGEST_WAIT_MS) throw givenUp(error, host);
      onWait({ milliseconds, why: reasonOf(error, host) });
      // With the reason of the abort, and not an error about it.
      await pause(milliseconds, undefined, { signal }).catch(() => signal.throwIfAborted());
    }
  }
}

/** @throws PassingError for an answer that asks to come back later */
export function refuseBusy({ status, headers }: HttpAnswer, host: string): void {
  if (!BUSY.has(status)) return;
  throw new PassingError(`${host} answered HTTP ${status}`, {
    status,
    waitMs: wantedWait(headers, status),
  });
}

/** A date counts from the server's own: clocks differ, and jump. */
function wantedWait(headers: HttpAnswer["headers"], status: number): number | undefined {
  const { "retry-after": asked = "", date = "" } = headers;
  const after = /^\s*(\d{1,9})\s*$/.exec(asked)?.[1];
  if (after !== undefined) return Number(after) * 1_000;
  const untilThen = Date.parse(asked) - Date.parse(date);
  if (Number.isFinite(untilThen) && /[a-z]/i.test(asked)) return Math.max(0, untilThen);
  // The limit stands in every answer; it is reached only in a refusal.
  const [, left, reset] = /;\s*r=(\d+)\s*;\s*t=(\d{1,9})/.exec(headers.ratelimit ?? "") ?? [];
  if (status === 429 && left === "0") return (Number(reset) + 1) * 1_000;
  return undefined;
}

function waitOf(error: unknown): number | undefined {
  return error instanceof PassingError ? error.waitMs : undefined;
}

function isFinal(error: unknown): boolean {
  return error instanceof PullError || error instanceof DiskError || error instanceof RedirectError;
}

function inFinalWords(error: unknown): unknown {
  if (!(error instanceof RedirectError)) return error;
  return new PullError("hub-answer", error.message, { cause: error, host: error.host });
}

function givenUp(error: unknown, host: string): PullError {
  const reason = reasonOf(error, host);
  if (error instanceof PassingError && error.status === 429) {
    const { waitMs } = error;
    const wait = waitMs === undefined ? "a few minutes" : `${Math.ceil(waitMs / 1000)} s`;
    return new PullError(
      "rate-limited",
      `${host} takes no more requests for now. Give the same command again in ${wait}: it goes on where it was.`,
      { host, status: 429, cause: error },
    );
  }
  if (error instanceof ProxyError) {
    return new PullError(
      "hub-unreachable",
      `${reason}. Mend HTTPS_PROXY, or name ${host} in NO_PROXY if it can be reached without a proxy. What came is kept.`,
      { host },
    );
  }
  const status = error instanceof PassingError ? error.status : undefined;
  return new PullError(
    // It answers, but with something else.
    status !== undefined && status < 400 ? "hub-answer" : "hub-unreachable",
    `${reason}. What came is kept: give the same command again, or name another hub with --hub or HF_ENDPOINT.`,
    { host, cause: error, status },
  );
}

function reasonOf(error: unknown, host: string): string {
  if (error instanceof PassingError || error instanceof ProxyError) return error.message;
  const code = codeOf(error);
  if (code?.startsWith("UND_ERR_SOCKET") || code === "ECONNRESET") return `${host} broke off`;
  if (code?.includes("HEADERS_TIMEOUT")) return `${host} does not answer`;
  if (code?.startsWith("Z_")) return `${host} sent what cannot be unpacked (${code})`;
  if (code !== undefined) return `${host} cannot be reached (${code})`;
  return `${host} broke off (${error instanceof Error ? error.message : "?"})`;
}
