// Third stage: a question in, the turn for the model out, with what it quotes and the bytes of its pictures.
// It tells the running turn which messages it is made of, so that taking one of them back ends it.

import { untilAborted } from "../../abort.ts";
import { isEmptyMessage, loadTurn } from "../chat/load-turn.ts";
import type { QuoteLookups } from "../chat/quote-lookups.ts";
import type { QuotedMessage } from "../chat/quoted-message.ts";
import type { Turn } from "../chat/turn.ts";
import type { ImageFetcher } from "../images/fetch-image.ts";
import type { IncomingMessage } from "../napcat/events.ts";
import type { Phrases } from "../reply/phrases.ts";
import { quotedId } from "../triggers/trigger.ts";
import type { Question } from "./question.ts";
import type { RunningTurn } from "./running-turns.ts";

export interface GatherOptions {
  readonly quotes: QuoteLookups;
  readonly images: ImageFetcher;
  readonly phrases: Phrases;
  /** Most pictures of one turn. */
  readonly maxImages: number;
  /** Told about every picture that became a note. */
  readonly onImageError: (error: unknown, message: IncomingMessage) => void;
}

/** Puts turns together. */
export class Gather {
  readonly #options: GatherOptions;

  constructor(options: GatherOptions) {
    this.#options = options;
  }

  /** Has somebody called the bot and said nothing else? */
  isBare({ pieces }: Question): boolean {
    return pieces.every(
      (piece) => quotedId(piece) === undefined && isEmptyMessage(piece, this.#options.phrases),
    );
  }

  /** @throws {unknown} the reason of the turn's signal when aborted, and nothing else. */
  async gather({ pieces }: Question, running: RunningTurn): Promise<Turn> {
    const { quotes, images, phrases, maxImages, onImageError } = this.#options;
    const [message] = pieces;
    const { signal } = running;
    const quote = await untilAborted(quotes.of(message), signal);
    for (const id of messageIds(message, quote)) running.involve(id);
    const turn = await loadTurn(
      message,
      quote,
      {
        fetchImage: (image, signal) => images.fetch(image, signal),
        phrases,
        maxImages,
        onImageError: (error) => onImageError(error, message),
      },
      signal,
    );
    return { ...turn, messageIds: running.messageIds };
  }
}

/** The message and whatever it quotes. */
function messageIds(message: IncomingMessage, quote: QuotedMessage): string[] {
  const quoted = quote.kind === "found" ? messageIds(quote.message, quote.quoted) : [];
  return [message.messageId, ...quoted];
}
