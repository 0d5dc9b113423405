// The ladder: where a picture may be found in, its bytes or one typed reason out, within one budget of time.
// Size first, then the links of the event, fresh links, those links with a fresh key, and NapCat's own copy.
// It knows nothing of what is in a picture.

import PQueue from "p-queue";
import { isTimeoutError, startDeadline } from "../../abort.ts";
import { ImageFetchError, isVlmBotError } from "../errors.ts";
import type { NapCatCalls } from "../napcat/calls.ts";
import { type ImageReference, parseImages } from "../napcat/events.ts";
import { isRecord, textOf, wireId } from "../napcat/wire.ts";
import type { Downloader } from "./download.ts";
import { decodeBase64Image, inlineImage, tooLarge } from "./image-bytes.ts";
import { isKnownDead } from "./image-url.ts";
import { takesKey, withFreshKeys, withoutKey } from "./picture-keys.ts";

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
/** What a server says of a link that another key might open. */
const REFUSED_BY_SERVER: ReadonlySet<string> = new Set(["expired", "http-status", "not-an-image"]);
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
    // The limits are those that hold now.
    this.#queue.concurrency = this.#limits.concurrency;
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
    const { maxBytes } = this.#limits;
    const tried = new Set<string>();
    /** Links whose server wants another key, by what they are without one. */
    const locked = new Map<string, string>();
    const download = async (url: string, signal: AbortSignal) => {
      if (url === "" || tried.has(url)) return undefined;
      tried.add(url);
      const lock = () => void (takesKey(url) && locked.set(withoutKey(url), url));
      if (isKnownDead(url)) return lock();
      return this.#downloader.download(url, { maxBytes, signal }).catch((error) => {
        if (isFetchError(error) && REFUSED_BY_SERVER.has(error.code)) lock();
        throw error;
      });
    };
    const inline = ({ url, file }: ImageReference) =>
      inlineImage(url, maxBytes) ?? inlineImage(file, maxBytes);
    yield async () => inline(image);
    for (const link of linksOf(image)) yield (signal) => download(link, signal);
    let fresh: ImageReference | undefined;
    yield async (signal) => {
      fresh = await this.#lookUp(image, signal);
      return fresh && (inline(fresh) ?? download(fresh.url, signal));
    };
    for (const link of fresh === undefined ? [] : linksOf(fresh)) {
      yield (signal) => download(link, signal);
    }
    for (const link of [...locked.values()]) {
      yield (signal) => this.#unlock(link, (url) => download(url, signal), signal);
    }
    if (image.marketFace || !NAPCAT_FILE_NAME.test(image.file)) return;
    yield async (signal) => {
      const answer = await this.#calls.call("get_image", { file: image.file }, { signal });
      if (!isRecord(answer)) return undefined;
      const base64 = textOf(answer.base64);
      if (base64 !== "") return decodeBase64Image(base64, maxBytes);
      // NapCat puts a path of its own machine here when it has no link.
      const url = textOf(answer.url);
      return isLink(url) ? download(url, signal) : undefined;
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

  /** Tries a link with each key that can be had; a key that is refused as well is no reason to stop. */
  async #unlock(
    link: string,
    download: (url: string) => Promise<Uint8Array | undefined>,
    signal: AbortSignal,
  ): Promise<Uint8Array | undefined> {
    let refusal: ImageFetchError | undefined;
    for await (const url of withFreshKeys(link, this.#calls, signal)) {
      try {
        const bytes = await download(url);
        if (bytes !== undefined) return bytes;
      } catch (error) {
        signal.throwIfAborted();
        if (!isFetchError(error) || error.code === "too-large") throw error;
        refusal ??= error;
      }
    }
    if (refusal !== undefined) throw refusal;
    return undefined;
  }

  /** NapCat builds a new link, with a new key, every time a message is looked up. */
  async #lookUp(image: ImageReference, signal: AbortSignal): Promise<ImageReference | undefined> {
    if (image.messageId === "") return undefined;
    const params = { message_id: wireId(image.messageId) };
    const images = parseImages(await this.#calls.call("get_msg", params, { signal }));
    const sameName = images.filter(({ file }) => file === image.file);
    return sameName.length === 1 ? sameName[0] : images.find(({ index }) => index === image.index);
  }
}

/** Where a message says its picture is: mostly in `url`, on some servers in `file`. What is no link is refused later. */
function linksOf({ url, file }: ImageReference): readonly string[] {
  return isLink(file) ? [url, file] : [url];
}

function isLink(text: string): boolean {
  return /^https?:\/\//iu.test(text);
}

function isFetchError(error: unknown): error is ImageFetchError {
  return isVlmBotError(error) && error.name === "ImageFetchError";
}

function timedOut(timeoutMs: number): ImageFetchError {
  return new ImageFetchError("timed-out", `A picture did not come within ${timeoutMs} ms.`);
}
