// Cancellation and deadlines: signals in, one signal out that lets go of them again.
// Not AbortSignal.any or .timeout: on Node 20 their listeners and timers outlive the work on a long-lived signal.

import { setMaxListeners } from "node:events";

/** A signal that follows others and aborts by itself when time is up. */
export interface Deadline {
  readonly signal: AbortSignal;
  /** Aborts with this reason. */
  abort(reason: unknown): void;
  /** Drops the timer and all listeners; call it when the work has ended. */
  end(): void;
}

/** A controller for many listeners at once: Node 20 takes the eleventh for a leak and warns of it. */
export function sharedController(): AbortController {
  const controller = new AbortController();
  setMaxListeners(0, controller.signal);
  return controller;
}

/**
 * Starts a deadline.
 *
 * @param timeoutMs the signal aborts with a `TimeoutError` after this long; `undefined`: never by itself
 * @param sources the signal aborts with the reason of whichever of these aborts first
 */
export function startDeadline(
  timeoutMs: number | undefined,
  ...sources: readonly (AbortSignal | undefined)[]
): Deadline {
  const controller = sharedController();
  const endings: (() => void)[] = [];
  const end = () => {
    for (const ending of endings.splice(0)) ending();
  };
  const abort = (reason: unknown) => {
    end();
    controller.abort(reason);
  };

  if (timeoutMs !== undefined) {
    const timer = setTimeout(() => abort(timeoutError(timeoutMs)), timeoutMs);
    endings.push(() => clearTimeout(timer));
  }
  for (const source of sources) {
    if (source === undefined) continue;
    if (source.aborted) {
      abort(source.reason);
      break;
    }
    const follow = () => abort(source.reason);
    source.addEventListener("abort", follow, { once: true });
    endings.push(() => source.removeEventListener("abort", follow));
  }
  return { signal: controller.signal, abort, end };
}

/** Settles as the promise does, or rejects with the signal's reason as soon as that comes first. */
export function untilAborted<T>(promise: Promise<T>, signal: AbortSignal | undefined): Promise<T> {
  if (signal === undefined) return promise;
  return new Promise((resolve, reject) => {
    const onAbort = () => reject(signal.reason);
    if (signal.aborted) onAbort();
    else signal.addEventListener("abort", onAbort, { once: true });
    promise.then(resolve, reject).finally(() => signal.removeEventListener("abort", onAbort));
  });
}

/**
 * Waits for a promise, but no longer than that.
 *
 * @returns what it resolves with, or `undefined` when time was over first
 * @throws what it rejects with until then
 */
export async function settledWithin<T>(promise: Promise<T>, ms: number): Promise<T | undefined> {
  let timer: NodeJS.Timeout | undefined;
  const over = new Promise<undefined>((resolve) => {
    timer = setTimeout(resolve, ms, undefined);
  });
  try {
    return await Promise.race([promise, over]);
  } finally {
    clearTimeout(timer);
  }
}

/** Passes the items of a stream on, or throws the signal's reason as soon as it aborts, whatever the stream does. */
export async function* eachUntilAborted<T>(
  stream: AsyncIterable<T>,
  signal: AbortSignal | undefined,
): AsyncGenerator<T> {
  const iterator = stream[Symbol.asyncIterator]();
  try {
    for (;;) {
      const next = await untilAborted(iterator.next(), signal);
      if (next.done) return;
      yield next.value;
    }
  } finally {
    // Not awaited: what hangs in `next` would hang here too.
    iterator.return?.().catch(() => {});
  }
}

/** What a deadline aborts with. */
function timeoutError(timeoutMs: number): DOMException {
  return new DOMException(`Not finished within ${timeoutMs} ms.`, "TimeoutError");
}

export function isTimeoutError(error: unknown): boolean {
  return error instanceof DOMException && error.name === "TimeoutError";
}
