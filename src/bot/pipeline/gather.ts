// Third stage: the pieces of a question in, the turn for the model out, with what it quotes and the bytes of its pictures.
// Work starts with the first piece, while others may still come. It tells the running turn which messages it is made of,
// so that taking one of them back ends it.

import { untilAborted } from "../../abort.ts";
import type { ChatId } from "../chat/chat-id.ts";
import { withForwarded } from "../chat/forwarded-messages.ts";
import { isEmptyMessage, loadTurn } from "../chat/load-turn.ts";
import {
  type Asked,
  lacksItsPicture,
  type Remembered,
  withMeantPictures,
} from "../chat/meant-pictures.ts";
import type { QuoteLookups } from "../chat/quote-lookups.ts";
import type { QuotedMessage } from "../chat/quoted-message.ts";
import type { RecentPictures } from "../chat/recent-pictures.ts";
import type { Turn } from "../chat/turn.ts";
import type { ImageFetcher } from "../images/fetch-image.ts";
import type { NapCatCalls } from "../napcat/calls.ts";
import type { ImageReference, IncomingMessage } from "../napcat/events.ts";
import type { Phrases } from "../reply/phrases.ts";
import { quotedId } from "../triggers/trigger.ts";
import { mergePieces, type Pieces } from "./merge-pieces.ts";
import type { RunningTurn } from "./running-turns.ts";

export interface GatherOptions {
  readonly calls: NapCatCalls;
  readonly quotes: QuoteLookups;
  readonly recent: RecentPictures;
  /** What the model knows of a chat when this person asks; `undefined` while another turn may be about to change that. */
  readonly remembered: (chat: ChatId, senderId: string) => Remembered | undefined;
  /** Was this message taken back, as far as anybody remembers? */
  readonly isRecalled: (chat: ChatId, messageId: string) => boolean;
  readonly images: ImageFetcher;
  readonly phrases: Phrases;
  /** Most pictures of one turn. */
  readonly maxImages: number;
  /** Told about every picture that became a note. */
  readonly onImageError: (error: unknown, message: IncomingMessage) => void;
}

/** Triggers by which somebody speaks to the bot. Whoever did not is not asked for a picture. */
const ADDRESSING: ReadonlySet<string> = new Set(["mention", "nickname", "prefix"]);

/** A turn for the model, or what the asker is asked for in its place. */
export type Gathered =
  | { readonly kind: "turn"; readonly turn: Turn }
  | { readonly kind: "ask"; readonly text: string };

/** Puts turns together. */
export class Gather {
  readonly #options: GatherOptions;

  constructor(options: GatherOptions) {
    this.#options = options;
  }

  /** Begins a turn that gets its pieces one after the other; one that is `ready` is not looked up again. */
  begin(running: RunningTurn, ready?: Turn): Gathering {
    return new Gathering(this.#options, running, ready);
  }
}

/** One turn that is being put together. */
export class Gathering {
  readonly #options: GatherOptions;
  readonly #running: RunningTurn;
  readonly #ready: Turn | undefined;
  /** Pictures that are on their way, or there. */
  readonly #pictures = new Map<ImageReference, Promise<Uint8Array>>();

  constructor(options: GatherOptions, running: RunningTurn, ready?: Turn) {
    this.#options = options;
    this.#running = running;
    this.#ready = ready;
    for (const id of ready?.messageIds ?? []) running.involve(id);
  }

  /** Starts fetching what a piece holds. Resolves when all of it is there, or cannot be had; never rejects. */
  async prepare(piece: IncomingMessage): Promise<void> {
    this.#running.involve(piece.messageId);
    if (this.#ready !== undefined || this.#isTakenBack(piece)) return;
    if (quotedId(piece) !== undefined) this.#involveQuote(piece);
    const spare = this.#options.maxImages - this.#pictures.size;
    const images = piece.segments.flatMap((part) => (part.type === "image" ? [part.image] : []));
    await Promise.allSettled(
      images.slice(0, Math.max(0, spare)).map((image) => this.#fetch(image)),
    );
  }

  /** @throws {unknown} the reason of the turn's signal when aborted, and nothing else. */
  async finish(pieces: Pieces): Promise<Gathered> {
    if (this.#ready !== undefined) return { kind: "turn", turn: this.#ready };
    const { recent, remembered, phrases, onImageError } = this.#options;
    const meant = withMeantPictures(await this.#lookUp(pieces), recent);
    const { message, quote, from } = await this.#unfolded(meant);
    const past = ADDRESSING.has(this.#running.trigger)
      ? remembered(message.chat, message.sender.id)
      : undefined;
    if (quote.kind === "none" && isEmptyMessage(message, phrases)) {
      return { kind: "ask", text: phrases.emptyMention };
    }
    if (past !== undefined && lacksItsPicture({ message, quote }, past)) {
      return { kind: "ask", text: phrases.pictureMissing };
    }
    for (const id of quotedIds(quote)) this.#running.involve(id);
    if (from !== undefined) this.#running.involve(from.messageId);
    const turn = await this.#load(message, quote, (error) => onImageError(error, message));
    return { kind: "turn", turn: { ...turn, messageIds: this.#running.messageIds } };
  }

  /**
   * The turn as it would be if nothing more came, to compute ahead what will be needed; `undefined` where that is not
   * known yet, or takes a look-up of its own. Never rejects.
   */
  async preview(pieces: Pieces): Promise<Turn | undefined> {
    const { quotes, recent, phrases } = this.#options;
    const quoting = pieces.find((piece) => quotedId(piece) !== undefined) ?? pieces[0];
    try {
      const quote = await untilAborted(quotes.of(quoting), this.#running.signal);
      const meant = withMeantPictures({ message: mergePieces(pieces), quote }, recent);
      if (quote.kind === "none" && isEmptyMessage(meant.message, phrases)) return undefined;
      const quoted = meant.quote.kind === "found" ? [meant.quote.message] : [];
      if ([meant.message, ...quoted].some(holdsForward)) return undefined;
      return await this.#load(meant.message, meant.quote, () => {});
    } catch {
      return undefined;
    }
  }

  #load(
    message: IncomingMessage,
    quote: QuotedMessage,
    onImageError: (error: unknown) => void,
  ): Promise<Turn> {
    const { phrases, maxImages } = this.#options;
    const fetchImage = (image: ImageReference) => this.#fetch(image);
    const sources = { fetchImage, phrases, maxImages, onImageError };
    return loadTurn(message, quote, sources, this.#running.signal);
  }

  /** A recall may be faster than the message it takes back. */
  #isTakenBack({ chat, messageId }: IncomingMessage): boolean {
    if (!this.#options.isRecalled(chat, messageId)) return false;
    if (this.#running.spare(messageId)) this.#running.release(messageId);
    else this.#running.cancel("recalled");
    return true;
  }

  /** What is quoted is a part of the question from the moment it is known: taken back, it ends the turn. */
  #involveQuote(piece: IncomingMessage): void {
    this.#options.quotes
      .of(piece)
      .then((quote) => {
        for (const id of quotedIds(quote)) this.#running.involve(id);
      })
      .catch(() => {});
  }

  /** The question as one message, and what it quotes. */
  async #lookUp(pieces: Pieces): Promise<Asked> {
    const quoting = pieces.find((piece) => quotedId(piece) !== undefined) ?? pieces[0];
    const { quotes, isRecalled } = this.#options;
    const quote = await untilAborted(quotes.of(quoting), this.#running.signal);
    // It may have been taken back while it was looked up.
    const gone = quotedIds(quote).some((id) => isRecalled(quoting.chat, id));
    return { message: mergePieces(pieces), quote: gone ? { kind: "lost" } : quote };
  }

  /** The same with what is forwarded in it. */
  async #unfolded<T extends Asked>(asked: T): Promise<T> {
    const { calls } = this.#options;
    const { signal } = this.#running;
    const { message, quote } = asked;
    const [unfolded, quoted] = await Promise.all([
      withForwarded(message, calls, signal),
      quote.kind === "found" ? withForwarded(quote.message, calls, signal) : undefined,
    ]);
    if (quote.kind !== "found" || quoted === undefined) return { ...asked, message: unfolded };
    return { ...asked, message: unfolded, quote: { ...quote, message: quoted } };
  }

  /** Fetches each picture once, however often it is asked for. */
  #fetch(image: ImageReference): Promise<Uint8Array> {
    const known = this.#pictures.get(image);
    if (known !== undefined) return known;
    const fetched = this.#options.images.fetch(image, this.#running.signal);
    this.#pictures.set(image, fetched);
    return fetched;
  }
}

function holdsForward({ segments }: IncomingMessage): boolean {
  return segments.some(({ type }) => type === "forward");
}

/** The messages that are quoted, and what they quote. */
function quotedIds(quote: QuotedMessage): string[] {
  return quote.kind === "found" ? [quote.message.messageId, ...quotedIds(quote.quoted)] : [];
}
