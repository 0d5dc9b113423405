// One HTTP request, without redirects, through the proxy that the environment names. In: an address and headers. Out:
// status, headers, and the body as it comes. It knows no hub.

import { lookup } from "node:dns";
import type { LookupFunction } from "node:net";
import type { Readable } from "node:stream";
import { Agent, type Dispatcher, ProxyAgent, request } from "undici";
import { proxyFor } from "./proxy.ts";
import { proxyError } from "./proxy-error.ts";
import { literalAddress, mayLead, type Reach, reachOf } from "./reach.ts";
import { socksTunnel } from "./socks-tunnel.ts";

export interface HttpAnswer {
  readonly status: number;
  /** By name in small letters; the first of several. */
  readonly headers: Readonly<Record<string, string | undefined>>;
  readonly body: Readable;
}

export interface HttpOptions {
  readonly headers?: Readonly<Record<string, string>>;
  readonly signal?: AbortSignal | undefined;
  /** Where the host lies that led here; its redirects go no deeper into a network. @default anywhere may be gone */
  readonly ledFrom?: Reach | undefined;
}

export interface HttpClientOptions {
  /** For `HTTPS_PROXY` and its like. */
  readonly env?: NodeJS.ProcessEnv;
  /** Until somebody answers. @default 10000 */
  readonly patienceMs?: number;
  /** How names become addresses. @default the system's way */
  readonly lookup?: typeof lookup;
}

const CONNECT_MS = 10_000;
const MOST_HEADER_BYTES = 32 * 1024;
/** Redirects and refusals with a body up to this are read to their end, so that the connection serves again. */
const SMALL_BODY_BYTES = 16 * 1024;

/** A redirect that leads into a network where its host has no business. */
export class ForbiddenAddressError extends Error {
  override readonly name = "ForbiddenAddressError";
}

export interface HttpGetter {
  get(url: URL, options?: HttpOptions): Promise<HttpAnswer>;
}

/** Keeps connections open between requests; `close` ends them. */
export class HttpClient implements HttpGetter {
  readonly #env: NodeJS.ProcessEnv;
  readonly #patienceMs: number;
  readonly #lookup: typeof lookup;
  readonly #dispatchers = new Map<string, Dispatcher>();

  constructor(options: HttpClientOptions = {}) {
    const { env = process.env, patienceMs = 10_000 } = options;
    this.#lookup = options.lookup ?? lookup;
    this.#env = env;
    this.#patienceMs = patienceMs;
  }

  /** @throws the signal's reason; ForbiddenAddressError; ProxyError; an error of the network with a `code` */
  async get(url: URL, { headers = {}, signal, ledFrom }: HttpOptions = {}): Promise<HttpAnswer> {
    signal?.throwIfAborted();
    const literal = literalAddress(url);
    if (ledFrom !== undefined && literal !== undefined) assertMayLead(ledFrom, literal);
    const proxy = proxyFor(url, this.#env);
    const answer = await request(url, {
      headers,
      dispatcher: this.#dispatcher(proxy, ledFrom),
      headersTimeout: this.#patienceMs,
      bodyTimeout: 0, // Whoever reads the body watches over it.
      ...(signal === undefined ? {} : { signal }),
    }).catch((error: unknown) => {
      signal?.throwIfAborted();
      throw (proxy && proxyError(error, proxy, url.host)) ?? error;
    });
    // Before anybody reads: a connection that breaks meanwhile must not end the process.
    answer.body.on("error", () => {});
    const flat = Object.entries(answer.headers).map(([name, value]) => [name, [value].flat()[0]]);
    return { status: answer.statusCode, headers: Object.fromEntries(flat), body: answer.body };
  }

  async close(): Promise<void> {
    const all = [...this.#dispatchers.values()];
    this.#dispatchers.clear();
    await Promise.all(all.map((dispatcher) => dispatcher.destroy()));
  }

  #dispatcher(proxy: string | undefined, ledFrom: Reach | undefined): Dispatcher {
    const key = proxy ?? `direct ${ledFrom ?? ""}`;
    const known = this.#dispatchers.get(key);
    if (known !== undefined) return known;
    const common = { maxHeaderSize: MOST_HEADER_BYTES };
    const timeout = Math.min(CONNECT_MS, this.#patienceMs);
    const made = () => {
      if (proxy === undefined) {
        const connect = { timeout, lookup: guardedLookup(this.#lookup, ledFrom) };
        return new Agent({ ...common, connect });
      }
      if (/^socks/i.test(proxy)) {
        return new Agent({ ...common, connect: socksTunnel(proxy, timeout) });
      }
      const tls = { proxyTls: { timeout }, requestTls: { timeout } };
      return new ProxyAgent({ ...common, ...tls, uri: proxy });
    };
    const dispatcher = made();
    this.#dispatchers.set(key, dispatcher);
    return dispatcher;
  }
}

/** Ends an answer that nobody wants to read. */
export function drop({ body, headers }: HttpAnswer): void {
  const length = Number(headers["content-length"] ?? Number.NaN);
  if (!(length <= SMALL_BODY_BYTES)) {
    body.destroy();
    return;
  }
  const timer = setTimeout(() => body.destroy(), 2_000).unref();
  body.on("close", () => clearTimeout(timer)).resume();
}

/** Names are looked at where the connection is made: what a name resolves to may change between two questions. */
function guardedLookup(find: typeof lookup, ledFrom: Reach | undefined): LookupFunction {
  return (hostname, options, callback) => {
    find(hostname, options, (error, found: unknown, family) => {
      if (error === null && ledFrom !== undefined) {
        const addresses = Array.isArray(found) ? found.map(({ address }) => address) : [found];
        try {
          for (const address of addresses) assertMayLead(ledFrom, String(address));
        } catch (refusal) {
          callback(refusal as NodeJS.ErrnoException, "");
          return;
        }
      }
      callback(error, found as string, family);
    });
  };
}

function assertMayLead(ledFrom: Reach, address: string): void {
  const reach = reachOf(address);
  if (mayLead(ledFrom, reach)) return;
  throw new ForbiddenAddressError(
    `leads to an address that is ${reach === "nowhere" ? "nobody's" : reach}`,
  );
}
