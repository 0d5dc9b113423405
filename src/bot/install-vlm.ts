// The bot: events come in, answers go out. Subscribe, parse, trigger, fetch, generate, reply; and one error boundary.
// It knows nothing of how the connection is kept alive, or of what the model is.

import { setTimeout as sleep } from "node:timers/promises";
import { sharedController, startDeadline } from "../abort.ts";
import { Arrivals } from "./chat/arrivals.ts";
import { chatKey } from "./chat/chat-id.ts";
import { isEmptyMessage, loadTurn } from "./chat/load-turn.ts";
import { lookUpQuote, type QuotedMessage } from "./chat/quoted-message.ts";
import { Responder } from "./chat/responder.ts";
import { decideTrigger, quotedId } from "./chat/triggers.ts";
import { describeError } from "./errors.ts";
import { Downloader } from "./images/download.ts";
import { ImageFetcher } from "./images/fetch-image.ts";
import { NapCatCalls } from "./napcat/calls.ts";
import { type IncomingMessage, parseMessageEvent } from "./napcat/events.ts";
import { expectClient, type NapCatClient } from "./napcat/napcat-client.ts";
import { Sender } from "./napcat/send.ts";
import {
  type InstallVlmOptions,
  parseInstallOptions,
  type ResolvedInstallOptions,
} from "./options.ts";
import { phraseForError } from "./reply/error-phrase.ts";
import { NoticeLimiter } from "./reply/notice-limiter.ts";
import { replySegments } from "./reply/segments.ts";
import { splitText } from "./reply/split.ts";

/** A model that ignores its signal does not hold up `close()` for longer than this. */
const CLOSE_TIMEOUT_MS = 5_000;

/** A bot that is listening. */
export interface InstalledVlm {
  /** The chat core with the histories; share it with other ways to talk to the same bot. */
  readonly responder: Responder;
  /** Resolves when no message is being worked on. */
  idle(): Promise<void>;
  /**
   * Stops listening, ends what is running and waits for it. Calling it again is fine.
   * Model and connection stay as they are: they belong to the caller.
   */
  close(): Promise<void>;
  [Symbol.asyncDispose](): Promise<void>;
}

/**
 * Makes a NapCat connection answer with a vision-language model.
 *
 * @param napcat a `NCWebsocket`, what `connectNapCat` returns, or anything that behaves like one
 * @throws {TypeError | RangeError} naming every option that is wrong.
 *
 * @example
 * const model = await loadQwen3Vl({ model: "models/Qwen3-VL-2B-Instruct" });
 * const napcat = connectNapCat({ url: "ws://127.0.0.1:3001", token: "..." });
 * const bot = installVlm(napcat, { model });
 */
export function installVlm(napcat: NapCatClient, options: InstallVlmOptions): InstalledVlm {
  expectClient(napcat);
  return new VlmBot(napcat, parseInstallOptions(options));
}

class VlmBot implements InstalledVlm {
  readonly responder: Responder;
  readonly #napcat: NapCatClient;
  readonly #settings: ResolvedInstallOptions;
  readonly #calls: NapCatCalls;
  readonly #sender: Sender;
  readonly #downloader: Downloader;
  readonly #images: ImageFetcher;
  readonly #arrivals: Arrivals;
  readonly #busyNotices = new NoticeLimiter();
  readonly #closing = sharedController();
  readonly #running = new Set<Promise<void>>();
  readonly #warned = new Set<string>();
  #closed: Promise<void> | undefined;

  constructor(napcat: NapCatClient, settings: ResolvedInstallOptions) {
    this.#napcat = napcat;
    this.#settings = settings;
    this.responder = new Responder(settings.responder);
    this.#calls = new NapCatCalls(napcat);
    this.#sender = new Sender(this.#calls);
    this.#downloader = new Downloader(settings.images);
    this.#images = new ImageFetcher(this.#calls, this.#downloader, settings.images);
    this.#arrivals = new Arrivals(settings.maxMessageAgeMs);
    napcat.on("message", this.#onMessage);
    settings.signal?.addEventListener("abort", this.#onAbort, { once: true });
    if (settings.signal?.aborted) this.#onAbort();
  }

  readonly #onMessage = (wire: unknown): void => {
    const run = this.#handle(wire)
      // The boundary in #handle has dealt with everything; this only keeps a mistake in it from ending the process.
      .catch(() => {})
      .finally(() => this.#running.delete(run));
    this.#running.add(run);
  };

  /** One message, from the wire to the answer. */
  async #handle(wire: unknown): Promise<void> {
    const message = this.#receive(wire);
    if (message === undefined) return;
    const deadline = startDeadline(this.#settings.turnTimeoutMs, this.#closing.signal);
    const { signal } = deadline;
    const { phrases } = this.#settings.responder;
    try {
      const quote = await this.#quoteIfItDecides(message);
      if (quote === "of somebody else") return;
      if (quotedId(message) === undefined && isEmptyMessage(message, phrases)) {
        return await this.#reply(message, phrases.emptyMention);
      }
      await this.responder.respond(
        { chat: message.chat, load: (signal) => this.#load(message, quote, signal) },
        { signal, deliver: ({ text }) => this.#reply(message, text.trim() || phrases.emptyAnswer) },
      );
    } catch (error) {
      await this.#fail(error, message);
    } finally {
      deadline.end();
    }
  }

  /** The message, if it is one that may have to be answered. */
  #receive(wire: unknown): IncomingMessage | undefined {
    const parsed = parseMessageEvent(wire);
    if (parsed.kind === "string-format") {
      this.#warnOnce(
        "NapCat sends messages as strings, which lose links and can be forged by typing. They are not answered. " +
          'Set "messagePostFormat" to "array" in the settings of its WebSocket server.',
      );
    }
    if (parsed.kind !== "message") return undefined;
    const { message } = parsed;
    if (decideTrigger(message, this.#settings.triggers) === "ignore") return undefined;
    const arrival = this.#arrivals.note(message);
    if (arrival === "stale") {
      this.#warnOnce(
        "A message was too old to be answered. After an outage this is normal; " +
          "if it happens all the time, compare the clock of this machine with that of NapCat's.",
      );
    }
    return arrival === "new" ? message : undefined;
  }

  /**
   * Where only a quote can make a message one for the bot, looks up whose message was quoted. No time of a turn ends
   * this: as long as nobody is known to have asked the bot, nobody wants to hear that it was too slow.
   */
  async #quoteIfItDecides(message: IncomingMessage) {
    if (decideTrigger(message, this.#settings.triggers) === "answer") return undefined;
    const quote = await lookUpQuote(message, this.#calls, this.#closing.signal);
    const mine = quote.kind === "found" && quote.message.fromSelf;
    return mine || this.#sender.hasSent(message.chat, quotedId(message) ?? "")
      ? quote
      : "of somebody else";
  }

  async #load(
    message: IncomingMessage,
    quote: QuotedMessage | undefined,
    signal: AbortSignal | undefined,
  ) {
    const { logger, images, responder } = this.#settings;
    return loadTurn(
      message,
      quote ?? (await lookUpQuote(message, this.#calls, signal)),
      {
        fetchImage: (image, signal) => this.#images.fetch(image, signal),
        phrases: responder.phrases,
        maxImages: images.maxPerTurn,
        onImageError: (error) =>
          logger.warn("A picture could not be read; the model is told so.", facts(message, error)),
      },
      signal,
    );
  }

  async #reply(message: IncomingMessage, text: string): Promise<void> {
    const { quote, maxCharacters } = this.#settings.reply;
    const quotes = quote === "always" || (quote === "group" && message.chat.kind === "group");
    let quoted = quotes ? message.messageId : undefined;
    for (const part of splitText(text, maxCharacters)) {
      await this.#sender.send(message.chat, message.target, replySegments(part, quoted), {
        signal: this.#closing.signal,
      });
      quoted = undefined;
    }
  }

  /** The one place where errors become sentences. */
  async #fail(error: unknown, message: IncomingMessage): Promise<void> {
    if (this.#closing.signal.aborted) return;
    const { logger, onError, responder } = this.#settings;
    logger.error("A message could not be answered.", facts(message, error));
    // Not awaited: an error tracker that hangs must not keep the asker waiting.
    Promise.resolve({ message })
      .then((context) => onError(error, context))
      .catch((thrown) => logger.error("onError failed itself.", facts(message, thrown)));
    const phrase = phraseForError(error, responder.phrases);
    if (phrase === undefined) return;
    if (phrase === responder.phrases.busy && !this.#busyNotices.take(message.chat)) return;
    try {
      await this.#reply(message, phrase);
    } catch (thrown) {
      logger.error("Nor could the asker be told.", facts(message, thrown));
    }
  }

  async idle(): Promise<void> {
    while (this.#running.size > 0) await Promise.all(this.#running);
  }

  close(): Promise<void> {
    this.#closed ??= this.#close();
    return this.#closed;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  async #close(): Promise<void> {
    this.#napcat.off("message", this.#onMessage);
    this.#settings.signal?.removeEventListener("abort", this.#onAbort);
    this.#closing.abort(new DOMException("The bot was closed.", "AbortError"));
    this.#calls.close();
    const patience = new AbortController();
    await Promise.race([
      this.idle(),
      sleep(CLOSE_TIMEOUT_MS, undefined, { signal: patience.signal }).catch(() => {}),
    ]);
    patience.abort();
    await this.#downloader.close();
  }

  readonly #onAbort = (): void => {
    this.close().catch(() => {});
  };

  #warnOnce(warning: string): void {
    if (this.#warned.has(warning)) return;
    this.#warned.add(warning);
    this.#settings.logger.warn(warning);
  }
}

/** What a log may hold of a message and an error: where, which and why, never what was said. */
function facts(message: IncomingMessage, error: unknown) {
  return { chat: chatKey(message.chat), messageId: message.messageId, error: describeError(error) };
}
