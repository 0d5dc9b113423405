// What was said before, of everybody: turns in, pasts out, bounded in turns, tokens, pictures, bytes and number.
// Pasts have keys; whose they are, history-key.ts knows. It knows nothing of OneBot and never calls the model.

import { LRUCache } from "lru-cache";
import type { PastTurn } from "./conversation.ts";
import { replaceImage } from "./conversation.ts";
import { KeptPictures } from "./kept-pictures.ts";
import {
  hashesOf,
  type KeptPart,
  type KeptTurn,
  mark,
  marksOf,
  textBytesOf,
  withinLimits,
} from "./kept-turns.ts";
import type { NotePart, TurnPart } from "./turn.ts";

/** How much is remembered. */
export interface HistoryLimits {
  /** Question-and-answer pairs kept per chat; 0 forgets at once. */
  readonly maxTurns: number;
  /** Tokens of text kept per chat, as estimated from its characters. */
  readonly maxTokens: number;
  /** Pictures kept per chat, the newest ones; older ones become a short note. */
  readonly maxImages: number;
  /** Bytes of pictures kept per chat. */
  readonly maxImageBytes: number;
  /** Chats kept in memory; the one unused for longest goes first, and is lost where there is no store. */
  readonly maxChats: number;
  /** Bytes of text and pictures of all chats together in memory; text may take a quarter. */
  readonly maxTotalBytes: number;
}

/** Where pasts outlive the process, under the same keys. It must not throw: what cannot be stored is lost, no more. */
export interface HistoryStore {
  read(key: string): readonly KeptTurn[] | undefined;
  /** @param picture the bytes behind a hash */
  write(
    key: string,
    past: readonly KeptTurn[],
    picture: (hash: string) => Uint8Array | undefined,
  ): void;
  remove(key: string): void;
  picture(hash: string): Uint8Array | undefined;
  /** Keys of the pasts in which a turn has this mark. */
  keysWith(mark: string): readonly string[];
}

const TEXT_SHARE = 1 / 4;

/** The pasts of everybody. */
export class Conversations {
  #limits: HistoryLimits;
  #olderImage: NotePart;
  readonly #store: HistoryStore | undefined;
  readonly #pasts: LRUCache<string, readonly KeptTurn[]>;
  readonly #pictures: KeptPictures;

  /** @param store asked for what is no longer, or not yet, in memory */
  constructor(limits: HistoryLimits, olderImage: string, store?: HistoryStore) {
    this.#limits = limits;
    this.#olderImage = { type: "note", text: olderImage, replaces: "image" };
    this.#store = store;
    const textBytes = Math.max(1, Math.floor(limits.maxTotalBytes * TEXT_SHARE));
    this.#pasts = new LRUCache({
      max: limits.maxChats,
      maxSize: textBytes,
      sizeCalculation: textBytesOf,
    });
    this.#pictures = new KeptPictures(Math.max(1, limits.maxTotalBytes - textBytes), (hash) =>
      store?.picture(hash),
    );
  }

  /** Other limits, from the next turn on. How many chats and bytes fit into memory was decided at the beginning. */
  reconfigure(limits: HistoryLimits, olderImage: string): void {
    this.#limits = limits;
    this.#olderImage = { type: "note", text: olderImage, replaces: "image" };
  }

  past(key: string): readonly PastTurn[] {
    return this.#kept(key).map((turn) => this.#shown(turn));
  }

  remember(key: string, turn: PastTurn): void {
    this.#keep(key, [...this.#kept(key), this.#keepTurn(turn)]);
  }

  /** Puts a note in place of one picture, counted from 0 over the whole past. */
  replaceImage(key: string, index: number, note: (number: number) => string): void {
    let before = 0;
    const past = this.past(key).map((turn) => {
      const parts = replaceImage(turn.parts, index - before, note);
      before += turn.parts.filter(({ type }) => type === "image").length;
      return this.#keepTurn({ ...turn, parts });
    });
    this.#keep(key, past);
  }

  /** Forgets the turns that were made of this message, wherever they are kept, and returns them by key. */
  forgetMessage(chat: string, messageId: string): ReadonlyMap<string, readonly PastTurn[]> {
    return this.#forgetMarked(mark.message(chat, messageId));
  }

  /** Forgets what this person asked, anywhere. */
  forgetPerson(id: string): ReadonlyMap<string, readonly PastTurn[]> {
    return this.#forgetMarked(mark.person(id));
  }

  /** Forgets what was asked in this chat, by anybody. */
  forgetChat(chat: string): ReadonlyMap<string, readonly PastTurn[]> {
    return this.#forgetMarked(mark.chat(chat));
  }

  /** Forgets one past. */
  forget(key: string): void {
    const gone = this.#kept(key);
    this.#pasts.delete(key);
    this.#store?.remove(key);
    this.#forgetPictures(gone);
  }

  /** Pasts in memory, and the bytes they take. */
  get size(): { readonly chats: number; readonly bytes: number } {
    return {
      chats: this.#pasts.size,
      bytes: this.#pasts.calculatedSize + this.#pictures.bytes,
    };
  }

  #kept(key: string): readonly KeptTurn[] {
    const known = this.#pasts.get(key);
    if (known !== undefined) return known;
    const stored = this.#store?.read(key);
    if (stored !== undefined) this.#pasts.set(key, stored);
    return stored ?? [];
  }

  #keep(key: string, past: readonly KeptTurn[]): void {
    const kept = withinLimits(past, this.#limits, this.#olderImage);
    this.#pasts.set(key, kept);
    this.#store?.write(key, kept, (hash) => this.#pictures.get(hash));
  }

  #keepTurn(turn: PastTurn): KeptTurn {
    const parts = turn.parts.map((part): KeptPart => {
      if (part.type !== "image") return part;
      return { type: "picture", hash: this.#pictures.keep(part.data), bytes: part.data.byteLength };
    });
    return { ...turn, parts };
  }

  /** A picture that there was no room for is a note. */
  #shown(turn: KeptTurn): PastTurn {
    const parts = turn.parts.map((part): TurnPart => {
      if (part.type !== "picture") return part;
      const data = this.#pictures.get(part.hash);
      return data === undefined ? this.#olderImage : { type: "image", data };
    });
    return { ...turn, parts };
  }

  #forgetMarked(wanted: string): ReadonlyMap<string, readonly PastTurn[]> {
    const forgotten = new Map<string, readonly PastTurn[]>();
    for (const key of this.#keysWith(wanted)) {
      const past = this.#kept(key);
      const gone = past.filter((turn) => marksOf(turn).includes(wanted));
      if (gone.length === 0) continue;
      forgotten.set(
        key,
        gone.map((turn) => this.#shown(turn)),
      );
      const left = past.filter((turn) => !gone.includes(turn));
      if (left.length > 0) this.#keep(key, left);
      else this.forget(key);
      this.#forgetPictures(gone);
    }
    return forgotten;
  }

  #keysWith(wanted: string): ReadonlySet<string> {
    const keys = new Set(this.#store?.keysWith(wanted));
    for (const [key, past] of this.#pasts.entries()) {
      if (past.some((turn) => marksOf(turn).includes(wanted))) keys.add(key);
    }
    return keys;
  }

  /** Pictures nobody else's past has. */
  #forgetPictures(turns: readonly KeptTurn[]): void {
    for (const hash of turns.flatMap(({ parts }) => hashesOf(parts))) {
      if (this.#keysWith(mark.picture(hash)).size === 0) this.#pictures.forget(hash);
    }
  }
}
