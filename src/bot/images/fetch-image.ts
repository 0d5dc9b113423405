// The ladder: where a picture may be found in, its bytes or one typed reason out, within one budget of time.
// Size first, then the link of the event, a fresh link, and NapCat's own copy. It knows nothing of what is in a picture.

import PQueue from "p-queue";
import { isTimeoutError, startDeadline } from "../../abort.ts";
import { ImageFetchError, isVlmBotError } from "../errors.ts";
import type { NapCatCalls } from "../napcat/calls.ts";
import { type ImageReference, parseMessageEvent } from "../napcat/events.ts";
import { isRecord, textOf, wireId } from "../napcat/wire.ts";
import type { Downloader } from "./download.ts";
import { decodeBase64Image, inlineImage, tooLarge } from "./image-bytes.ts";
import { isKnownDead } from "./image-url.ts";

export interface ImageFetchLimits {
  /** Most bytes of one picture. */
  readonly maxBytes: number;
  /** Longest time for one picture, all attempts together. */
  readonly timeoutMs: number;
  /** Pictures fetched at the same time; the others wait without using up their time. */
  readonly concurrency: number;
}

/** One attempt may use this part of the budget, so that the next one still has a chance. */
const ATTEMPT_SHARE = 0.4;
/** Names NapCat makes up itself: an unknown name would make it search its files by that text. */
const NAPCAT_FILE_NAME = /^\{?[\w-]{8,100}\}?(\.\w{2,5})?$/u;

type Attempt = (signal: AbortSignal) => Promise<Uint8Array | undefined>;

/** Fetches pictures of messages. */
export class ImageFetcher {
  readonly #calls: NapCatCalls;
  readonly #downloader: Downloader;
  readonly #limits: ImageFetchLimits;
  readonly #queue: PQueue;

  constructor(calls: NapCatCalls, downloader: Downloader, limits: ImageFetchLimits) {
    this.#calls = calls;
    this.#downloader = downloader;
    this.#limits = limits;
    this.#queue = new PQueue({ concurrency: limits.concurrency });
  }

  /**
   * Fetches one picture.
   *
   * @throws {ImageFetchError} saying why not.
   * @throws {unknown} `signal.reason` when aborted.
   */
  async fetch(image: ImageReference, signal?: AbortSignal): Promise<Uint8Array> {
    if ((image.bytes ?? 0) > this.#limits.maxBytes) throw tooLarge(this.#limits.maxBytes);
    const options = signal === undefined ? {} : { signal };
    return this.#queue.add(() => this.#climb(image, signal), options);
  }

  async #climb(image: ImageReference, signal: AbortSignal | undefined): Promise<Uint8Array> {
    const budget = startDeadline(this.#limits.timeoutMs, signal);
    let reason: ImageFetchError | undefined;
    try {
      for (const attempt of this.#attempts(image)) {
        try {
          const bytes = await this.#within(attempt, budget.signal);
          if (bytes !== undefined) return bytes;
        } catch (error) {
          signal?.throwIfAborted();
          if (budget.signal.aborted) break;
          if (isFetchError(error) && error.code === "too-large") throw error;
          // The first reason is the telling one: what fails later fails because of it.
          if (isFetchError(error)) reason ??= error;
          else if (isTimeoutError(error)) reason ??= timedOut(this.#limits.timeoutMs);
          else if (!isVlmBotError(error)) throw error;
        }
      }
    } finally {
      budget.end();
    }
    if (budget.signal.aborted) reason ??= timedOut(this.#limits.timeoutMs);
    throw reason ?? new ImageFetchError("unavailable", "NapCat offered no way to get a picture.");
  }

  /** Cheapest first; an attempt that has nothing to offer returns `undefined`. */
  *#attempts(image: ImageReference): Generator<Attempt> {
    const tried = new Set<string>();
    const download = async (url: string, signal: AbortSignal) => {
      if (url === "" || isKnownDead(url) || tried.has(url)) return undefined;
      tried.add(url);
      return this.#downloader.download(url, { maxBytes: this.#limits.maxBytes, signal });
    };
    yield async () =>
      inlineImage(image.url, this.#limits.maxBytes) ??
      inlineImage(image.file, this.#limits.maxBytes);
    yield (signal) => download(image.url, signal);
    yield async (signal) => download(await this.#freshUrl(image, signal), signal);
    if (image.marketFace || !NAPCAT_FILE_NAME.test(image.file)) return;
    yield async (signal) => {
      const answer = await this.#calls.call("get_image", { file: image.file }, { signal });
      if (!isRecord(answer)) return undefined;
      const base64 = textOf(answer.base64);
      if (base64 !== "") return decodeBase64Image(base64, this.#limits.maxBytes);
      // NapCat puts a path of its own machine here when it has no link.
      const url = textOf(answer.url);
      return url.startsWith("http") ? download(url, signal) : undefined;
    };
  }

  async #within(attempt: Attempt, signal: AbortSignal): Promise<Uint8Array | undefined> {
    const deadline = startDeadline(this.#limits.timeoutMs * ATTEMPT_SHARE, signal);
    try {
      return await attempt(deadline.signal);
    } finally {
      deadline.end();
    }
  }

  /** NapCat builds a new link, with a new key, every time a message is looked up. */
  async #freshUrl(image: ImageReference, signal: AbortSignal): Promise<string> {
    const params = { message_id: wireId(image.messageId) };
    const parsed = parseMessageEvent(await this.#calls.call("get_msg", params, { signal }));
    if (parsed.kind !== "message") return "";
    const images = parsed.message.segments.flatMap((segment) =>
      segment.type === "image" ? [segment.image] : [],
    );
    const sameName = images.filter(({ file }) => file === image.file);
    return (sameName.length === 1 ? sameName[0] : images[image.index])?.url ?? "";
  }
}

function isFetchError(error: unknown): error is ImageFetchError {
  return isVlmBotError(error) && error.name === "ImageFetchError";
}

function timedOut(timeoutMs: number): ImageFetchError {
  return new ImageFetchError("timed-out", `A picture did not come within ${timeoutMs} ms.`);
}
