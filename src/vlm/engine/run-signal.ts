// A run of several sequences ends early only when none of them is wanted any more.

/** A signal that aborts once all of the given ones have. Call `end` when the run is over. */
export function allAborted(signals: readonly AbortSignal[]): {
  readonly signal: AbortSignal;
  readonly end: () => void;
} {
  const controller = new AbortController();
  const check = () => {
    if (signals.every(({ aborted }) => aborted)) controller.abort(signals[0]?.reason);
  };
  for (const signal of signals) signal.addEventListener("abort", check, { once: true });
  check();
  return {
    signal: controller.signal,
    end: () => {
      for (const signal of signals) signal.removeEventListener("abort", check);
    },
  };
}
