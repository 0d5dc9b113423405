// The body of an answer that must keep coming. In: a stream, and how patient one is. Out: its bytes, or an error when
// nothing, or nearly nothing, came for too long. Time spent by the reader does not count. It knows no HTTP.

import type { Readable } from "node:stream";
import { setImmediate } from "node:timers/promises";

/** Fewer bytes than this in the time of patience are none. */
const LEAST_BYTES = 4_096;

/** A line that stands still. */
class StalledError extends Error {
  override readonly name = "StalledError";
}

/** More chunks than this wait for nobody: the line is held back. */
const MOST_WAITING = 16;

/**
 * Ends the stream however the reading ends. Takes bytes in from now on, read or not: what had come before a line broke
 * is given out before the error.
 *
 * @throws StalledError; what the stream throws
 */
export function steadily(body: Readable, patienceMs: number): AsyncGenerator<Buffer> {
  return read(body, new Arrivals(body), patienceMs);
}

async function* read(
  body: Readable,
  arrivals: Arrivals,
  patienceMs: number,
): AsyncGenerator<Buffer> {
  let waitedMs = 0;
  let bytes = 0;
  try {
    for (;;) {
      const before = performance.now();
      const chunk = await arrivals.next(patienceMs);
      if (chunk === undefined) return;
      waitedMs += performance.now() - before;
      bytes += chunk.byteLength;
      if (waitedMs > patienceMs) {
        if (bytes < LEAST_BYTES) throw stalled(patienceMs, bytes);
        waitedMs = 0;
        bytes = 0;
      }
      yield chunk;
    }
  } finally {
    body.destroy();
  }
}

/** Chunks in a line of their own: a stream that breaks throws away those that nobody has read. */
class Arrivals {
  readonly #body: Readable;
  readonly #chunks: Buffer[] = [];
  #ended = false;
  #error: unknown;
  #wake: () => void = () => {};

  constructor(body: Readable) {
    this.#body = body;
    const end = (error?: unknown) => {
      this.#error ??= error;
      this.#ended = true;
      this.#wake();
    };
    body.on("data", (chunk: Buffer) => {
      this.#chunks.push(chunk);
      if (this.#chunks.length >= MOST_WAITING) body.pause();
      this.#wake();
    });
    body.on("end", () => end());
    body.on("error", (error) => end(error));
    body.on("close", () => end());
    // It may have ended before anybody listened: then no event comes any more.
    if (body.errored !== null) end(body.errored);
    else if (body.destroyed || body.readableEnded) end();
  }

  /** @returns undefined at the end */
  async next(patienceMs: number): Promise<Buffer | undefined> {
    if (this.#chunks.length === 0 && !this.#ended) await this.#arrival(patienceMs);
    const chunk = this.#chunks.shift();
    if (this.#chunks.length === 0 && !this.#ended) this.#body.resume();
    if (chunk === undefined && this.#error !== undefined) throw this.#error;
    return chunk;
  }

  #arrival(patienceMs: number): Promise<void> {
    return new Promise((resolve, reject) => {
      const timer = setTimeout(async () => {
        // This process may have been too busy to read what came: let it read before judging.
        await setImmediate();
        await setImmediate();
        reject(stalled(patienceMs, 0));
      }, patienceMs);
      this.#wake = () => {
        clearTimeout(timer);
        resolve();
      };
    });
  }
}

function stalled(patienceMs: number, bytes: number): StalledError {
  const came = bytes === 0 ? "nothing" : `${bytes} bytes`;
  return new StalledError(`${came} came for ${Math.round(patienceMs / 1000)} s`);
}
