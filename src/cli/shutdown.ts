// Ctrl-C. In: signals of the operating system. Out: one AbortSignal; what runs ends by it, and the process with code 0.

/** Why everything was asked to end. */
class ShutdownError extends Error {
  override readonly name = "ShutdownError";
}

/** npm passes on a Ctrl-C that the terminal has sent to everybody already: these two are one. */
const SAME_KEY_PRESS_MS = 500;

/**
 * Listens for Ctrl-C and for `kill`. The first one aborts the signal; a second one, a moment later, ends the
 * process at once, the way it would have ended without anybody listening.
 */
export function listenForShutdown(announce: () => void): AbortSignal {
  const controller = new AbortController();
  let firstAt = 0;
  const listen = (signal: NodeJS.Signals) => {
    if (!controller.signal.aborted) {
      firstAt = performance.now();
      announce();
      controller.abort(new ShutdownError("Asked to stop."));
    } else if (performance.now() - firstAt > SAME_KEY_PRESS_MS) {
      process.removeAllListeners(signal);
      process.kill(process.pid, signal);
    }
  };
  process.on("SIGINT", listen);
  process.on("SIGTERM", listen);
  return controller.signal;
}

/** Resolves when the signal aborts. */
export function untilShutdown(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) resolve();
    else signal.addEventListener("abort", () => resolve(), { once: true });
  });
}
