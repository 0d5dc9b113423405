// Cancellation: signals in, one signal out that can be let go again.
// Not AbortSignal.any: on Node 20 its results pile up on a long-lived source signal until that is collected.

/** One signal that follows several. `unlink` removes its listeners; call it when the work has ended. */
export interface LinkedSignal {
  readonly signal: AbortSignal;
  readonly unlink: () => void;
}

/** A signal that aborts, with the same reason, as soon as one of the others does. */
export function linkSignals(...sources: readonly (AbortSignal | undefined)[]): LinkedSignal {
  const controller = new AbortController();
  const removals: (() => void)[] = [];
  const unlink = () => {
    for (const remove of removals.splice(0)) remove();
  };
  for (const source of sources) {
    if (!source) continue;
    const follow = () => {
      controller.abort(source.reason);
      unlink();
    };
    if (source.aborted) {
      follow();
      break;
    }
    source.addEventListener("abort", follow, { once: true });
    removals.push(() => source.removeEventListener("abort", follow));
  }
  return { signal: controller.signal, unlink };
}

/** Settles as the promise does, or rejects with the signal's reason as soon as that comes first. */
export function untilAborted<T>(promise: Promise<T>, signal: AbortSignal): Promise<T> {
  return new Promise((resolve, reject) => {
    const onAbort = () => reject(signal.reason);
    if (signal.aborted) onAbort();
    else signal.addEventListener("abort", onAbort, { once: true });
    promise.then(resolve, reject).finally(() => signal.removeEventListener("abort", onAbort));
  });
}
