// A large file from somewhere, in spite of mirrors that redirect and lines that break. In: a URL, a path. Out: the whole
// file at that path, with its hash; what came before an interruption is kept and gone on with, by a later run too.

import { createHash } from "node:crypto";
import { createReadStream } from "node:fs";
import { setTimeout as pause } from "node:timers/promises";
import { disk } from "../../disk.ts";
import { codeOf, DiskError } from "../../disk-error.ts";
import { drop, type HttpAnswer, HttpClient, type HttpGetter } from "../../vlm/hub/http-client.ts";
import { ProxyError } from "../../vlm/hub/proxy-error.ts";
import { follow, RedirectError } from "../../vlm/hub/redirects.ts";
import { steadily } from "../../vlm/hub/steady-body.ts";

export type DownloadProblem = "unreachable" | "status" | "redirect" | "wrong-hash" | "interrupted";

/** Why a file did not come; the message names the host, never a whole URL. */
export class DownloadError extends Error {
  override readonly name = "DownloadError";
  readonly problem: DownloadProblem;

  constructor(problem: DownloadProblem, message: string, cause?: unknown) {
    super(message, { cause });
    this.problem = problem;
  }
}

export interface DownloadOptions {
  readonly signal: AbortSignal;
  /** What the file must hash to, in hexadecimal. */
  readonly sha256?: string | undefined;
  /** `total` is undefined while nobody says how large the file is. */
  readonly onProgress?: (done: number, total: number | undefined) => void;
  /** Before the first new try; doubles each time. @default 1000 */
  readonly pauseMs?: number;
  readonly env?: NodeJS.ProcessEnv;
  /** What requests are made with. @default a client of its own */
  readonly client?: HttpGetter;
}

/** Tries in a row that bring nothing. */
const MAX_IDLE_TRIES = 4;
const IDLE_TIMEOUT_MS = 60_000;
/** NuGet's storage says what a package hashes to, in base64. */
const SHA512_HEADER = "x-ms-meta-sha512";

/** @returns the SHA-256 of the file, in hexadecimal */
export function download(url: URL, path: string, options: DownloadOptions): Promise<string> {
  return withClient(options, (requests) => downloadWith(url, path, requests));
}

async function downloadWith(url: URL, path: string, options: Requests): Promise<string> {
  const { pauseMs = 1_000, signal } = options;
  const part = `${path}.part`;
  for (let idle = 0; ; ) {
    signal.throwIfAborted();
    const before = (await disk.fileSize(part)) ?? 0;
    try {
      const promised = await fetchInto(url, part, options);
      const sha256 = await verify(part, url, promised, options);
      await disk.moveFile(part, path, { signal });
      await disk.remove(`${part}.tag`);
      return sha256;
    } catch (error) {
      signal.throwIfAborted();
      if (isFinal(error)) throw error;
      idle = ((await disk.fileSize(part)) ?? 0) > before ? 0 : idle + 1;
      if (idle >= MAX_IDLE_TRIES) throw inWords(error, url);
      await pause(pauseMs * 2 ** idle, undefined, { signal });
    }
  }
}

/** A small text, such as an index. */
export async function downloadText(url: URL, options: DownloadOptions): Promise<string> {
  try {
    return await withClient(options, async (requests) => {
      const { body } = await open(url, {}, requests);
      const chunks: Buffer[] = [];
      for await (const chunk of steadily(body, IDLE_TIMEOUT_MS)) chunks.push(chunk);
      return Buffer.concat(chunks).toString("utf8");
    });
  } catch (error) {
    options.signal.throwIfAborted();
    throw isFinal(error) ? error : inWords(error, url);
  }
}

/** Fetches what is missing. @returns the SHA-512 that the server promised, in base64, if it did */
async function fetchInto(url: URL, part: string, options: Requests): Promise<string | undefined> {
  const start = (await disk.fileSize(part)) ?? 0;
  const tag = start > 0 ? await disk.readText(`${part}.tag`).catch(() => "") : "";
  const headers = start > 0 && tag !== "" ? { range: `bytes=${start}-`, "if-range": tag } : {};
  const response = await open(url, headers, options);
  const body = steadily(response.body, IDLE_TIMEOUT_MS);
  const range = /^bytes (\d+)-\d+\/(\d+|\*)/.exec(response.headers["content-range"] ?? "");
  const goesOn = response.status === 206 && Number(range?.[1]) === start;
  if (!goesOn) await disk.remove(part);
  // A weak tag does not promise the same bytes.
  const etag = response.headers.etag?.startsWith("W/") ? undefined : response.headers.etag;
  const tagNow = etag ?? response.headers["last-modified"] ?? "";
  await disk.replaceFile(`${part}.tag`, tagNow, { durable: false });
  const length = Number(response.headers["content-length"]);
  let done = goesOn ? start : 0;
  const total = Number.isSafeInteger(length) ? done + length : undefined;
  if (total !== undefined) await disk.assertRoom(part, total - done);
  const file = await disk.open(part, "a");
  try {
    for await (const chunk of body) {
      await disk.guard(part, () => file.appendFile(chunk));
      done += chunk.byteLength;
      options.onProgress?.(done, total);
    }
  } finally {
    await file.close();
  }
  if (total !== undefined && done < total) {
    throw new Error(`ended after ${done} of ${total} bytes`);
  }
  return response.headers[SHA512_HEADER];
}

/** Opens a URL, following redirects: a few, and never from https to http. */
async function open(
  url: URL,
  headers: Readonly<Record<string, string>>,
  { signal, client }: Requests,
): Promise<HttpAnswer> {
  const { answer, url: at } = await follow(client, url, { headers, signal }).catch(inOwnWords);
  const { status } = answer;
  if (status === 200 || status === 206) return answer;
  drop(answer);
  // The partial file does not fit what is there now.
  if (status === 416) throw new Error("the server has another file now");
  if (status === 429 || status >= 500) throw new Error(`HTTP ${status}`);
  throw new DownloadError("status", `${at.host} answered HTTP ${status}.`);
}

function inOwnWords(error: unknown): never {
  if (!(error instanceof RedirectError)) throw error;
  throw new DownloadError("redirect", error.message, error);
}

type Requests = DownloadOptions & { readonly client: HttpGetter };

/** Lends a client for as long as some work takes. */
async function withClient<T>(
  options: DownloadOptions,
  work: (options: Requests) => Promise<T>,
): Promise<T> {
  if (options.client !== undefined) return work({ ...options, client: options.client });
  const { env = process.env } = options;
  const client = new HttpClient({ env, patienceMs: IDLE_TIMEOUT_MS });
  try {
    return await work({ ...options, client });
  } finally {
    await client.close();
  }
}

async function verify(
  part: string,
  url: URL,
  promisedSha512: string | undefined,
  { sha256: expected, signal }: DownloadOptions,
): Promise<string> {
  const [sha256, sha512] = [createHash("sha256"), createHash("sha512")];
  for await (const chunk of createReadStream(part, { signal })) {
    sha256.update(chunk as Buffer);
    sha512.update(chunk as Buffer);
  }
  const found = sha256.digest("hex");
  const isPromised = promisedSha512 === undefined || promisedSha512 === sha512.digest("base64");
  if (isPromised && (expected === undefined || expected.toLowerCase() === found)) return found;
  await disk.remove(part);
  await disk.remove(`${part}.tag`);
  throw new DownloadError(
    "wrong-hash",
    `What ${url.host} sent has the SHA-256 ${found}${expected === undefined ? "" : ` and not ${expected}`}: it was changed on the way, or is another file. It was thrown away.`,
  );
}

function isFinal(error: unknown): boolean {
  return error instanceof DownloadError || error instanceof DiskError;
}

function inWords(error: unknown, url: URL): DownloadError {
  if (error instanceof ProxyError) {
    return new DownloadError("unreachable", `${error.message}. See HTTPS_PROXY and NO_PROXY.`);
  }
  const code = codeOf(error);
  const why = code ?? (error instanceof Error ? error.message : String(error));
  return code === undefined
    ? new DownloadError("interrupted", `${url.host} broke off again and again: ${why}.`, error)
    : new DownloadError("unreachable", `${url.host} cannot be reached (${why}).`, error);
}
