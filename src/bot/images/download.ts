// A URL in, the bytes of a picture out: checked at every redirect, capped while streaming, checked by magic bytes.
// It knows nothing of NapCat, and keeps nothing.

import { Agent, request } from "undici";
import { ImageFetchError, isVlmBotError } from "../errors.ts";
import { expectImage, tooLarge } from "./image-bytes.ts";
import { checkImageUrl, guardedLookup, type ImageUrlPolicy } from "./image-url.ts";

const MAX_REDIRECTS = 3;
/** A server that is silent for this long has gone away. */
const SILENCE_MS = 10_000;
/**
 * Time for one address of a host to connect, before the next one is tried too. Node's own 250 ms are less than a
 * connection from abroad to the mainland takes: it would give up on every address.
 */
const ADDRESS_MS = 2_000;
/** Enough of an error page to find QQ's code in it. */
const MAX_ERROR_BYTES = 4096;
/** QQ's codes for a link whose key is too old (-5503007), missing or wrong (-5503010), and their relatives. */
const KEY_REFUSED = /"retcode"\s*:\s*-55030\d\d\b/u;

export interface DownloadOptions {
  readonly maxBytes: number;
  readonly signal: AbortSignal;
}

type Lookup = Parameters<typeof guardedLookup>[1];

/** Downloads pictures over connections that lead to allowed places only. */
export class Downloader {
  readonly #policy: ImageUrlPolicy;
  readonly #agent: Agent;

  /** @param lookup replaces DNS in tests */
  constructor(policy: ImageUrlPolicy, lookup?: Lookup) {
    this.#policy = policy;
    this.#agent = new Agent({
      connect: {
        lookup: guardedLookup(policy, lookup),
        timeout: SILENCE_MS,
        autoSelectFamily: true,
        autoSelectFamilyAttemptTimeout: ADDRESS_MS,
      },
      headersTimeout: SILENCE_MS,
      bodyTimeout: SILENCE_MS,
      connections: 8,
    });
  }

  /**
   * Downloads one picture.
   *
   * @throws {ImageFetchError} with any code but `unavailable` and `timed-out`.
   * @throws {unknown} `signal.reason` when aborted.
   */
  async download(url: string, options: DownloadOptions): Promise<Uint8Array> {
    let next = checkImageUrl(url, this.#policy);
    for (let redirects = 0; redirects <= MAX_REDIRECTS; redirects++) {
      const answer = await this.#get(next, options);
      if (answer instanceof Uint8Array) return expectImage(answer, next.hostname);
      next = checkImageUrl(answer.location, this.#policy);
    }
    throw new ImageFetchError("http-status", `${next.hostname} redirects in circles.`, {
      host: next.hostname,
    });
  }

  /** Ends running downloads and closes all connections. */
  async close(): Promise<void> {
    await this.#agent.destroy();
  }

  async #get(url: URL, { maxBytes, signal }: DownloadOptions) {
    const host = url.hostname;
    try {
      const { statusCode, headers, body } = await request(url, {
        dispatcher: this.#agent,
        headers: { accept: "image/*", "user-agent": "Mozilla/5.0 (compatible; napcat-vlm)" },
        signal,
      });
      try {
        if (statusCode === 200) {
          if (Number(headers["content-length"] ?? 0) > maxBytes) throw tooLarge(maxBytes, host);
          const { bytes, complete } = await readAtMost(body, maxBytes);
          if (!complete) throw tooLarge(maxBytes, host);
          return bytes;
        }
        const { location } = headers;
        if (statusCode >= 300 && statusCode < 400 && typeof location === "string") {
          return { location: new URL(location, url).href };
        }
        throw statusError(statusCode, host, (await readAtMost(body, MAX_ERROR_BYTES)).bytes);
      } finally {
        // What was not read is not wanted: the connection is dropped instead of drained.
        body.on("error", () => {}).destroy();
      }
    } catch (error) {
      signal.throwIfAborted();
      throw isVlmBotError(error) ? error : networkError(error, host);
    }
  }
}

async function readAtMost(body: AsyncIterable<Uint8Array>, maxBytes: number) {
  const chunks: Uint8Array[] = [];
  let length = 0;
  for await (const chunk of body) {
    length += chunk.byteLength;
    if (length > maxBytes) return { bytes: Buffer.concat(chunks), complete: false };
    chunks.push(chunk);
  }
  return { bytes: Buffer.concat(chunks, length), complete: true };
}

function statusError(status: number, host: string, body: Uint8Array): ImageFetchError {
  return KEY_REFUSED.test(Buffer.from(body).toString())
    ? new ImageFetchError("expired", `The link to a picture on ${host} holds no valid key.`, {
        host,
        status,
      })
    : new ImageFetchError("http-status", `${host} answered ${status} instead of a picture.`, {
        host,
        status,
      });
}

/** A refusal by the guarded look-up arrives as the cause of a failed connection. */
function networkError(error: unknown, host: string): Error {
  for (let cause = error; cause instanceof Error; cause = cause.cause) {
    if (isVlmBotError(cause)) return cause;
  }
  const code = error instanceof Error && "code" in error ? ` (${String(error.code)})` : "";
  return new ImageFetchError("network", `No picture came from ${host}${code}.`, {
    host,
    cause: error,
  });
}
