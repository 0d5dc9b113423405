// Messages that follow one another in, one question out: a picture and the text about it are one. In: messages of one
// person in one chat. Out: the pieces, once nothing more is expected. Two people are never merged.
// It knows nothing of triggers: whoever opens a window knows that the bot was asked.

import { setMaxListeners } from "node:events";
import { chatKey } from "../chat/chat-id.ts";
import type { IncomingMessage } from "../napcat/events.ts";

export interface MergeOptions {
  /** Milliseconds after its last piece until a question counts as complete; 0: every message is a question. */
  readonly windowMs: number;
  /** Longest time from the first piece to the end, unless a picture is still on its way. */
  readonly maxMs: number;
  readonly maxPieces: number;
}

type Pieces = [IncomingMessage, ...IncomingMessage[]];

/** A question that may get more pieces. */
export class MergeWindow {
  readonly #options: MergeOptions;
  readonly #pieces: Pieces;
  readonly #openedAt = performance.now();
  readonly #closing = new AbortController();
  readonly #onClose: () => void;
  #onPiece: (piece: IncomingMessage) => void = () => {};
  /** Pictures on their way; as long as one is, the turn could not begin anyway. */
  #held = 0;
  #timer: NodeJS.Timeout | undefined;
  #due = false;

  constructor(first: IncomingMessage, options: MergeOptions, onClose: () => void) {
    this.#options = options;
    this.#pieces = [first];
    this.#onClose = onClose;
    setMaxListeners(0, this.#closing.signal);
    this.#wait();
  }

  get open(): boolean {
    return !this.#closing.signal.aborted;
  }

  /** What belongs to the question so far, oldest first. */
  get pieces(): readonly [IncomingMessage, ...IncomingMessage[]] {
    return [...this.#pieces];
  }

  add(piece: IncomingMessage): void {
    this.#pieces.push(piece);
    this.#onPiece(piece);
    this.#wait();
  }

  /** Tells of every piece, those that are there already included. */
  eachPiece(listener: (piece: IncomingMessage) => void): void {
    for (const piece of this.pieces) listener(piece);
    this.#onPiece = listener;
  }

  /** Takes a piece out that its writer took back; `false` if the question is nothing without it. */
  drop(messageId: string): boolean {
    const index = this.#pieces.findIndex((piece) => piece.messageId === messageId);
    // The first piece is what asked the bot; a picture is what the others are about.
    const piece = this.#pieces[index];
    if (!this.open || index <= 0 || piece === undefined) return false;
    if (piece.segments.some(({ type }) => type === "image")) return false;
    this.#pieces.splice(index, 1);
    return true;
  }

  /** Keeps the window open until this has settled. */
  hold(work: Promise<unknown>): void {
    this.#held++;
    const release = () => {
      this.#held--;
      if (this.#held === 0 && this.#due) this.close();
    };
    work.then(release, release);
  }

  /** Takes no more pieces. Calling it again is fine. */
  close(): void {
    if (!this.open) return;
    clearTimeout(this.#timer);
    this.#closing.abort();
    this.#onClose();
  }

  /** Resolves when the window has closed; rejects with `signal.reason`, which closes it too. */
  closed(signal: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      const stop = () => {
        this.close();
        reject(signal.reason);
      };
      if (signal.aborted) return stop();
      if (!this.open) return resolve();
      signal.addEventListener("abort", stop, { once: true });
      this.#closing.signal.addEventListener("abort", () => {
        signal.removeEventListener("abort", stop);
        resolve();
      });
    });
  }

  /** Starts the time after the last piece afresh, within the time of the whole. */
  #wait(): void {
    const { windowMs, maxMs, maxPieces } = this.#options;
    const leftMs = this.#openedAt + maxMs - performance.now();
    clearTimeout(this.#timer);
    this.#due = false;
    if (this.#pieces.length >= maxPieces || windowMs === 0) {
      this.close();
      return;
    }
    const expire = () => {
      this.#due = true;
      if (this.#held === 0) this.close();
    };
    this.#timer = setTimeout(expire, Math.max(0, Math.min(windowMs, leftMs)));
  }
}

/** The open windows, one for each person and chat. */
export class Merge {
  readonly #options: MergeOptions;
  readonly #windows = new Map<string, MergeWindow>();
  /** By person and chat, messages that are just being looked at: what comes after them has to wait. */
  readonly #undecided = new Map<string, Promise<void>>();

  constructor(options: MergeOptions) {
    this.#options = options;
  }

  /** The window this message is a piece of, if there is one. */
  windowFor(message: IncomingMessage): MergeWindow | undefined {
    return this.#windows.get(personKey(message));
  }

  open(first: IncomingMessage): MergeWindow {
    const key = personKey(first);
    const window = new MergeWindow(first, this.#options, () => this.#windows.delete(key));
    if (window.open) this.#windows.set(key, window);
    return window;
  }

  /**
   * Does something about a message that takes time, such as finding out whether it is for the bot, and opens its window.
   * Until that is done, later messages of the same person find it in {@link undecided}: none may overtake it.
   */
  async decide<T>(message: IncomingMessage, work: () => Promise<T>): Promise<T> {
    const key = personKey(message);
    const decision = work();
    const settled = decision.then(
      () => {},
      () => {},
    );
    this.#undecided.set(key, settled);
    try {
      return await decision;
    } finally {
      if (this.#undecided.get(key) === settled) this.#undecided.delete(key);
    }
  }

  /** Resolves when an earlier message of the same person has been decided; `undefined` when none is left. */
  undecided(message: IncomingMessage): Promise<void> | undefined {
    return this.#undecided.get(personKey(message));
  }
}

function personKey({ selfId, chat, sender }: IncomingMessage): string {
  return `${selfId}/${chatKey(chat)}/${sender.id}`;
}
