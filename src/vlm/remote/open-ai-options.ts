// What openAiVlm can be told: the interface people read, the defaults, and the check at the door.

import {
  boolean,
  callback,
  integer,
  matching,
  milliseconds,
  nonEmptyText,
  object,
  openObject,
  optionalRecord,
  parseOptions,
  text,
} from "../../parse-options.ts";
import { isServerAddress } from "./remote-address.ts";

export interface OpenAiVlmOptions {
  /** Where the server's interface begins, mostly ending in `/v1`. */
  readonly baseURL: string;
  /** Name of the model there. @default the first that the server lists */
  readonly model?: string | undefined;
  /** Goes into the header `Authorization` and nowhere else. @default none */
  readonly apiKey?: string | undefined;
  /** More headers of every request. @default none */
  readonly headers?: Readonly<Record<string, string>> | undefined;
  /** Most tokens of prompt and answer together. @default what the server says, or else 32768 */
  readonly contextTokens?: number | undefined;
  /** The model thinks before it answers. @default false */
  readonly thinking?: boolean | undefined;
  /**
   * The server's prompt opens the thought and the server does not take it out: answers begin inside a thought, and
   * `</think>` ends it. @default false
   */
  readonly opensThought?: boolean | undefined;
  /** How often a request is asked again that found the server busy, broken or gone, before anything of the answer came. @default 2 */
  readonly retries?: number | undefined;
  /** Longest time to the first piece of an answer, in milliseconds. @default 120000 */
  readonly firstPartTimeoutMs?: number | undefined;
  /** Longest time from one piece to the next, in milliseconds. @default 60000 */
  readonly silenceTimeoutMs?: number | undefined;
  /** Fields that the server knows and this package does not; they go into every request as they are. @default none */
  readonly extraBody?: Readonly<Record<string, unknown>> | undefined;
  /** In place of undici's. @default one that honours HTTP_PROXY, HTTPS_PROXY and NO_PROXY, never for this machine itself */
  readonly fetch?: typeof fetch | undefined;
}

export interface ResolvedOpenAiVlmOptions {
  readonly baseURL: string;
  readonly model: string | undefined;
  readonly apiKey: string | undefined;
  readonly headers: Readonly<Record<string, string>>;
  readonly contextTokens: number | undefined;
  readonly thinking: boolean;
  readonly opensThought: boolean;
  readonly retries: number;
  readonly firstPartTimeoutMs: number;
  readonly silenceTimeoutMs: number;
  readonly extraBody: Readonly<Record<string, unknown>>;
  readonly fetch: typeof fetch | undefined;
}

const SCHEMA = object({
  baseURL: matching<string>(
    "an http or https address without user, password or query, such as http://127.0.0.1:8000/v1",
    isServerAddress,
  ),
  model: nonEmptyText().optional(),
  apiKey: matching<string>(
    "a non-empty string of printable ASCII characters",
    (value) => typeof value === "string" && /^[!-~]+$/u.test(value),
  ).optional(),
  headers: optionalRecord(text()),
  contextTokens: integer(1).optional(),
  thinking: boolean().optional(),
  opensThought: boolean().optional(),
  retries: integer(0, 100).optional(),
  firstPartTimeoutMs: milliseconds().optional(),
  silenceTimeoutMs: milliseconds().optional(),
  extraBody: openObject({}, "an object").optional(),
  fetch: callback().optional(),
});

/** @throws {TypeError | RangeError} naming every option that is wrong; never a key. */
export function resolveOpenAiVlmOptions(options: OpenAiVlmOptions): ResolvedOpenAiVlmOptions {
  parseOptions(SCHEMA, options, "openAiVlm");
  return {
    baseURL: options.baseURL,
    model: options.model,
    apiKey: options.apiKey,
    headers: options.headers ?? {},
    contextTokens: options.contextTokens,
    thinking: options.thinking ?? false,
    opensThought: options.opensThought ?? false,
    retries: options.retries ?? 2,
    firstPartTimeoutMs: options.firstPartTimeoutMs ?? 120_000,
    silenceTimeoutMs: options.silenceTimeoutMs ?? 60_000,
    extraBody: options.extraBody ?? {},
    fetch: options.fetch,
  };
}
