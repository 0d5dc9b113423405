// One server that speaks OpenAI's interface. In: a body. Out: the chunks it streams, unread, or a refusal.
// The only file that knows the packages `openai` (address, headers, event streams) and `undici` (proxies).
// It does not know what a chunk means.

import OpenAI from "openai";
import { Stream } from "openai/core/streaming";
import { Agent, type Dispatcher, ProxyAgent, fetch as undiciFetch } from "undici";
import { proxyFor } from "../hub/proxy.ts";
import { socksTunnel } from "../hub/socks-tunnel.ts";
import { ServerRefusal } from "./server-refusal.ts";

export interface OpenAiClientOptions {
  readonly baseURL: string;
  readonly apiKey: string | undefined;
  readonly headers: Readonly<Record<string, string>>;
  readonly fetch: typeof fetch | undefined;
}

/** What came is no answer of this interface, or stopped in the middle of one. */
export class BrokenAnswer extends Error {
  override readonly name = "BrokenAnswer";
}

/** There was no answer, or no more of it. */
export class NetworkFailure extends Error {
  override readonly name = "NetworkFailure";
  /** As systems and undici name it, such as `ECONNREFUSED`. */
  readonly code: string | undefined;
  readonly midway: boolean;

  constructor(cause: unknown, midway: boolean) {
    super("The network failed.");
    this.code = codeOf(cause);
    this.midway = midway;
  }
}

export type CompletionBody = OpenAI.ChatCompletionCreateParamsStreaming;

const PROXY_CONNECT_MS = 10_000;
/** An error page is read this far. */
const MAX_ERROR_BYTES = 64 * 1024;
/** An answer that was not streamed is read this far. */
const MAX_BODY_BYTES = 16 * 1024 * 1024;
/** Deadlines are the caller's; the packages' own would end a long prefill. */
const NO_TIMEOUT_MS = 2 ** 31 - 1;

export class OpenAiClient {
  readonly #client: OpenAI;
  readonly #dispatcher: Dispatcher | undefined;

  constructor({ baseURL, apiKey, headers, fetch: given }: OpenAiClientOptions) {
    this.#dispatcher = given ? undefined : dispatcherFor(baseURL);
    this.#client = new OpenAI({
      baseURL,
      // Never the environment's: that key may belong to another server than this one.
      apiKey: apiKey ?? "none",
      organization: null,
      project: null,
      defaultHeaders: { ...(apiKey === undefined ? { authorization: null } : {}), ...headers },
      // What the package logs holds what was sent.
      logLevel: "off",
      maxRetries: 0,
      timeout: NO_TIMEOUT_MS,
      fetch: refusing(given ?? this.#fetch),
    });
  }

  /**
   * Asks, and hands on whatever the server streams.
   *
   * @throws {ServerRefusal} for an error in place of an answer, or in the middle of one
   * @throws {BrokenAnswer} for what is no answer of this interface
   * @throws {NetworkFailure} for everything else, an abort among it
   */
  async *completions(body: CompletionBody, signal: AbortSignal): AsyncGenerator<unknown> {
    const response = await answered(
      this.#client.chat.completions.create(body, { signal }).asResponse(),
    );
    const type = response.headers.get("content-type") ?? "";
    if (/json|html/iu.test(type)) {
      yield await wholeAnswer(response);
      return;
    }
    const reading = new AbortController();
    try {
      for await (const chunk of Stream.fromSSEResponse(response, reading, this.#client)) {
        yield chunk;
      }
    } catch (error) {
      // An error amid the events, in the package's own words; or an event that is no JSON.
      if (error instanceof OpenAI.APIError) throw new ServerRefusal(200, { error: error.error });
      if (error instanceof SyntaxError) throw new BrokenAnswer("One of its events was no JSON.");
      throw new NetworkFailure(error, true);
    }
  }

  /** What `GET /models` says. @throws as {@link completions} does */
  async models(signal: AbortSignal): Promise<unknown> {
    return wholeAnswer(await answered(this.#client.get("/models", { signal }).asResponse()));
  }

  /** Cuts every connection. */
  async close(): Promise<void> {
    await this.#dispatcher?.destroy();
  }

  readonly #fetch: typeof fetch = ((url: string, init: object) =>
    undiciFetch(url, { ...init, dispatcher: this.#dispatcher! })) as unknown as typeof fetch;
}

/** The package wraps what our `fetch` throws. */
async function answered(response: Promise<Response>): Promise<Response> {
  try {
    return await response;
  } catch (error) {
    const cause = error instanceof OpenAI.APIConnectionError ? error.cause : error;
    throw cause instanceof ServerRefusal ? cause : new NetworkFailure(cause, false);
  }
}

/** The innermost code. */
function codeOf(error: unknown): string | undefined {
  if (!(error instanceof Error)) return undefined;
  const inner = codeOf(error.cause);
  if (inner !== undefined) return inner;
  // A host with several addresses fails with one error for each.
  const first = error instanceof AggregateError ? codeOf(error.errors[0]) : undefined;
  const own = Reflect.get(error, "code");
  return first ?? (typeof own === "string" && /^[\w-]{1,60}$/u.test(own) ? own : undefined);
}

/** Connections of our own, so that closing ends them; this machine itself is never reached through a proxy. */
function dispatcherFor(baseURL: string): Dispatcher {
  const options = { headersTimeout: 0, bodyTimeout: 0 };
  const { hostname } = new URL(baseURL);
  const here = /^(localhost|127\.\d+\.\d+\.\d+|\[::1\])$/u.test(hostname);
  const proxy = here ? undefined : proxyFor(new URL(baseURL), process.env);
  if (proxy === undefined) return new Agent(options);
  if (!/^socks/i.test(proxy)) return new ProxyAgent({ ...options, uri: proxy });
  return new Agent({ ...options, connect: socksTunnel(proxy, PROXY_CONNECT_MS) });
}

/** Turns an HTTP error into a refusal with all that was said; the package keeps some forms of it only. */
function refusing(fetch: typeof globalThis.fetch): typeof globalThis.fetch {
  return async (url, init) => {
    const response = await fetch(url, init);
    if (response.ok) return response;
    const text = await textOf(response, MAX_ERROR_BYTES).catch(() => "");
    throw new ServerRefusal(response.status, parsed(text) ?? text, response.headers);
  };
}

/** An answer in one piece: a server that does not stream, an error with status 200, a page of a proxy. */
async function wholeAnswer(response: Response): Promise<unknown> {
  const text = await textOf(response, MAX_BODY_BYTES).catch((error: unknown) => {
    throw new NetworkFailure(error, true);
  });
  const json = parsed(text);
  if (typeof json !== "object" || json === null) {
    const isPage = /^\s*<(!doctype|html)/iu.test(text);
    throw new BrokenAnswer(isPage ? "It answered with a web page." : "It answered with no JSON.");
  }
  if ("error" in json && json.error) throw new ServerRefusal(response.status, json);
  return json;
}

async function textOf(response: Response, maxBytes: number): Promise<string> {
  const chunks: Uint8Array[] = [];
  let bytes = 0;
  for await (const chunk of response.body ?? []) {
    chunks.push(chunk);
    bytes += chunk.length;
    if (bytes >= maxBytes) break;
  }
  return Buffer.concat(chunks).subarray(0, maxBytes).toString();
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
