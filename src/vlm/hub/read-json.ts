// A JSON answer of a hub. In: an address. Out: parsed JSON and where the next page is, or a PullError in words. Small
// bodies only, unpacked under a limit, within a time: an answer that never ends is no answer.

import { pipeline, type Readable } from "node:stream";
import { createBrotliDecompress, createGunzip, createInflate } from "node:zlib";
import type { z } from "zod";
import { startDeadline } from "../../abort.ts";
import { PullError } from "../errors.ts";
import { drop, type HttpAnswer } from "./http-client.ts";
import type { HubContext } from "./hub.ts";
import type { JsonAnswer } from "./json-answer.ts";
import { type FollowOptions, follow } from "./redirects.ts";
import { shownText } from "./shown-text.ts";
import { steadily } from "./steady-body.ts";
import { insist, PassingError, refuseBusy } from "./tries.ts";

/** Of a page with a thousand files, with room; unpacked. */
const MOST_JSON_BYTES = 16 * 2 ** 20;
const MOST_ERROR_BYTES = 64 * 1024;
/** For one answer as a whole, however steadily it comes. */
const LONGEST_MS = 60_000;
const MOST_TRIES = 3;

/** Resolves for refusals too (4xx other than busy ones): what they mean, the hub knows. */
export async function readJson(
  context: HubContext,
  url: URL,
  options: Pick<FollowOptions, "credentials" | "basePath">,
): Promise<JsonAnswer> {
  const { client, pace, signal, reach, onWait } = context;
  return insist(
    async () => {
      const deadline = startDeadline(LONGEST_MS, signal);
      try {
        const headers = {
          ...context.headers,
          accept: "application/json",
          "accept-encoding": "gzip",
        };
        const { answer } = await follow(client, url, {
          ...options,
          headers,
          reach,
          signal: deadline.signal,
        });
        refuseBusyAnswer(answer, url.host);
        return await parse(answer, url.host, pace.patienceMs);
      } finally {
        deadline.end();
      }
    },
    { host: url.host, pace: { ...pace, tries: Math.min(pace.tries, MOST_TRIES) }, signal, onWait },
  );
}

function refuseBusyAnswer(answer: HttpAnswer, host: string): void {
  try {
    refuseBusy(answer, host);
  } catch (error) {
    drop(answer);
    throw error;
  }
}

async function parse(answer: HttpAnswer, host: string, patienceMs: number): Promise<JsonAnswer> {
  const { status, headers } = answer;
  const isRefusal = status >= 400;
  const most = isRefusal ? MOST_ERROR_BYTES : MOST_JSON_BYTES;
  const text = await readText(answer, most, host, patienceMs);
  try {
    return { status, headers, json: JSON.parse(text) };
  } catch (cause) {
    if (isRefusal) return { status, headers, json: undefined };
    const isPage = /html/i.test(headers["content-type"] ?? "") || /^\s*</.test(text);
    const what = isPage ? "with a web page" : "with something else";
    throw new PullError(
      "hub-answer",
      `${host} answered ${what} where JSON belongs (HTTP ${status}). Is its address right, and is there no log-in page in between?`,
      { host, status, cause },
    );
  }
}

async function readText(
  answer: HttpAnswer,
  most: number,
  host: string,
  patienceMs: number,
): Promise<string> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of steadily(unpacked(answer), patienceMs)) {
    bytes += chunk.byteLength;
    if (bytes > most) {
      answer.body.destroy();
      if (answer.status >= 400) break;
      throw new PullError(
        "hub-answer",
        `${host} answered with more than ${most / 2 ** 20} MiB, which no list of files has.`,
        { host, status: answer.status },
      );
    }
    chunks.push(chunk);
  }
  const length = Number(answer.headers["content-length"]);
  const isPlain = (answer.headers["content-encoding"] ?? "identity") === "identity";
  if (isPlain && bytes < length && answer.status < 400) throw new PassingError(`${host} broke off`);
  return Buffer.concat(chunks).toString("utf8");
}

/** What a hub says, in the form that is expected. @throws PullError `hub-answer` that names the place, and no value */
export function parseAs<T extends z.ZodType>(
  schema: T,
  { json, status }: JsonAnswer,
  host: string,
): z.infer<T> {
  const result = schema.safeParse(json);
  if (result.success) return result.data;
  const where = result.error.issues[0]?.path.join(".") ?? "";
  throw new PullError(
    "hub-answer",
    `${host} answered with JSON of another form than a hub's${where && ` (at ${where.slice(0, 40)})`}.`,
    { host, status },
  );
}

/** The body as it was before it was packed for the way. @throws PullError for a packing that nobody asked for */
export function unpacked({ headers, body }: HttpAnswer): Readable {
  const encoding = (headers["content-encoding"] ?? "identity").trim().toLowerCase();
  const make = {
    gzip: createGunzip,
    "x-gzip": createGunzip,
    deflate: createInflate,
    br: createBrotliDecompress,
  }[encoding];
  if (encoding === "identity" || encoding === "") return body;
  if (make === undefined) {
    body.destroy();
    throw new PullError(
      "hub-answer",
      `A hub packed its answer as ${shownText(encoding)}, which nobody asked for.`,
    );
  }
  // Whatever breaks reaches the reader through the last stream.
  return pipeline(body, make(), () => {}) as Readable;
}
