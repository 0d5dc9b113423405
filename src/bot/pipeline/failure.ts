// The one place where errors become sentences. In: what went wrong with which message. Out: a line in the log, a call
// of the host's `onError`, and a sentence for the asker where one helps.

import { isVlmError } from "../../vlm/index.ts";
import { chatKey } from "../chat/chat-id.ts";
import { describeError, TurnCancelledError } from "../errors.ts";
import type { Logger } from "../logger.ts";
import type { IncomingMessage } from "../napcat/events.ts";
import type { ErrorContext } from "../options.ts";
import type { Acknowledge } from "../reply/acknowledge.ts";
import { phraseForError } from "../reply/error-phrase.ts";
import { NoticeLimiter } from "../reply/notice-limiter.ts";
import type { Phrases } from "../reply/phrases.ts";
import type { RecentErrors } from "../status/recent-errors.ts";
import type { Deliver } from "./deliver.ts";

/** How an asker learns that there is no answer. */
export const ERROR_FORMS = ["text", "reaction", "silent"] as const;
export type ErrorForm = (typeof ERROR_FORMS)[number];

export interface FailureOptions {
  readonly logger: Logger;
  readonly phrases: Phrases;
  readonly onError: (error: unknown, context: ErrorContext) => void | Promise<void>;
  readonly deliver: Deliver;
  readonly acknowledge: Acknowledge;
  /** Asked each time: it may change. */
  readonly form: () => ErrorForm;
  /** Says how often a chat is told that it is too much. */
  readonly notices: NoticeLimiter;
  /** Aborts when the bot closes: then nobody is told anything. */
  readonly signal: AbortSignal;
  /** For whoever looks at the bot later. */
  readonly recent: RecentErrors;
}

/** Deals with turns that failed. */
export class Failure {
  readonly #options: FailureOptions;
  /** A flood is one piece of news for each chat and minute, not one for each question. */
  readonly #floods = new NoticeLimiter();

  constructor(options: FailureOptions) {
    this.#options = options;
  }

  /** Never rejects. */
  async report(error: unknown, message: IncomingMessage): Promise<void> {
    const { logger, phrases, onError, deliver, notices, signal, recent } = this.#options;
    if (signal.aborted) return;
    if (error instanceof TurnCancelledError && error.reason !== "deadline") {
      logger.debug("A turn was ended before its answer.", facts(message, error));
      return;
    }
    if (!isQueueFull(error) || this.#floods.take(message.chat)) {
      logger.error("A message could not be answered.", facts(message, error));
      recent.add(chatKey(message.chat), error);
    }
    // Not awaited: an error tracker that hangs must not keep the asker waiting.
    Promise.resolve({ message })
      .then((context) => onError(error, context))
      .catch((thrown) => logger.error("onError failed itself.", facts(message, thrown)));
    const phrase = phraseForError(error, phrases);
    if (phrase === undefined) return;
    if (phrase === phrases.busy && !notices.take(message.chat)) return;
    const form = this.#options.form();
    if (form === "silent") return;
    // Nothing can be put on a private message.
    if (form === "reaction" && message.chat.kind === "group") {
      return await this.#options.acknowledge.fail(message);
    }
    try {
      await deliver.deliver(phrase, message, signal, { isOwnText: true });
    } catch (thrown) {
      logger.error("Nor could the asker be told.", facts(message, thrown));
    }
  }
}

function isQueueFull(error: unknown): boolean {
  return isVlmError(error) && error.code === "queue-full";
}

/** What a log may hold of a message and an error: where, which and why, never what was said. */
export function facts(message: IncomingMessage, error: unknown) {
  return { chat: chatKey(message.chat), messageId: message.messageId, error: describeError(error) };
}
