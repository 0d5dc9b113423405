// Between a generation and whoever reads it: parts pushed in, an async iterator out.
// The generation never waits for its reader, so a slow reader does not hold the engine; a reader who leaves stops it.

import type { StreamPart } from "../vision-language-model.ts";

/**
 * Runs `produce`, from the first read on, and hands its parts to one reader.
 *
 * What has been produced before a failure is read before the failure is thrown. Leaving the iterator early
 * (`break`, `return()`) aborts the signal given to `produce` and waits until it has ended.
 *
 * @param produce pushes parts until done; must end soon after its signal aborts
 */
export async function* channelParts(
  produce: (push: (part: StreamPart) => void, abandoned: AbortSignal) => Promise<void>,
): AsyncGenerator<StreamPart, void, void> {
  const parts: StreamPart[] = [];
  const abandoned = new AbortController();
  let wake: (() => void) | undefined;
  let ended = false;
  let failure: { readonly error: unknown } | undefined;
  const running = produce((part) => {
    parts.push(part);
    wake?.();
  }, abandoned.signal)
    .catch((error: unknown) => {
      failure = { error };
    })
    .finally(() => {
      ended = true;
      wake?.();
    });
  try {
    for (;;) {
      const part = parts.shift();
      if (part) yield part;
      else if (failure) throw failure.error;
      else if (ended) return;
      else await new Promise<void>((resolve) => (wake = resolve));
    }
  } finally {
    abandoned.abort(new Error("The reader of the stream has left."));
    await running;
  }
}
