// What was said before: turns in, chat messages for the model out, bounded in turns, pictures, bytes and chats.
// Pictures are kept as the bytes that came, never as base64. It knows nothing of OneBot and never calls the model.

import { LRUCache } from "lru-cache";
import type { ChatMessage, ContentPart } from "../../vlm/index.ts";
import type { Phrases } from "../reply/phrases.ts";
import { type ChatId, chatKey } from "./chat-id.ts";
import { cleanName } from "./speaker-name.ts";
import type { Quote, Speaker, Turn, TurnPart } from "./turn.ts";

/** How much of a chat is remembered. */
export interface HistoryLimits {
  /** Question-and-answer pairs kept per chat; 0 forgets at once. */
  readonly maxTurns: number;
  /** Pictures kept per chat, the newest ones; older ones become a short note. */
  readonly maxImages: number;
  /** Bytes of pictures kept per chat. */
  readonly maxImageBytes: number;
  /** Chats remembered at all; the one unused for longest is forgotten first. */
  readonly maxChats: number;
  /** Bytes of text and pictures of all chats together. */
  readonly maxTotalBytes: number;
}

/** A question as the model sees it, and its answer. */
export interface PastTurn {
  readonly parts: readonly TurnPart[];
  readonly answer: string;
  /** Messages of the chat the question was made of. */
  readonly messageIds?: readonly string[];
  /** Names the model was shown in it; models imitate them. */
  readonly names?: readonly string[];
  /** Number of its first picture in the chat, counted from 1 over all that were ever there. */
  readonly firstPicture?: number;
}

/** Where pasts outlive the process, under the same keys. It must not throw: what cannot be stored is lost, no more. */
export interface HistoryStore {
  read(key: string): readonly PastTurn[] | undefined;
  write(key: string, past: readonly PastTurn[]): void;
  remove(key: string): void;
}

/** The past of every chat. */
export class Conversations {
  readonly #limits: HistoryLimits;
  readonly #olderImage: string;
  readonly #store: HistoryStore | undefined;
  readonly #pasts: LRUCache<string, readonly PastTurn[]>;

  /** @param store asked for what is no longer, or not yet, in memory */
  constructor(limits: HistoryLimits, olderImage: string, store?: HistoryStore) {
    this.#limits = limits;
    this.#olderImage = olderImage;
    this.#store = store;
    this.#pasts = new LRUCache({
      max: limits.maxChats,
      maxSize: limits.maxTotalBytes,
      sizeCalculation: (past) => sizeOf(past),
    });
  }

  past(chat: ChatId): readonly PastTurn[] {
    const key = chatKey(chat);
    const known = this.#pasts.get(key) ?? this.#store?.read(key);
    if (known === undefined) return [];
    if (!this.#pasts.has(key)) this.#pasts.set(key, known);
    return known;
  }

  remember(chat: ChatId, turn: PastTurn): void {
    const past = boundTurns([...this.past(chat), turn], this.#limits.maxTurns);
    this.#keep(chat, boundImages(past, this.#limits, this.#olderImage));
  }

  /** Puts a note in place of one picture, counted from 0 over the whole past of the chat. */
  replaceImage(chat: ChatId, index: number, note: (number: number) => string): void {
    let before = 0;
    const past = this.past(chat).map((turn) => {
      const parts = replaceImage(turn.parts, index - before, note);
      before += countImages(turn.parts);
      return { ...turn, parts };
    });
    this.#keep(chat, past);
  }

  /** Forgets the turns that were made of this message, with their answers, and returns them. */
  forgetMessage(chat: ChatId, messageId: string): readonly PastTurn[] {
    const past = this.past(chat);
    const isOfIt = ({ messageIds = [] }: PastTurn) => messageIds.includes(messageId);
    const kept = past.filter((turn) => !isOfIt(turn));
    if (kept.length === past.length) return [];
    if (kept.length === 0) this.forget(chat);
    else this.#keep(chat, kept);
    return past.filter(isOfIt);
  }

  forget(chat: ChatId): void {
    this.#pasts.delete(chatKey(chat));
    this.#store?.remove(chatKey(chat));
  }

  #keep(chat: ChatId, past: readonly PastTurn[]): void {
    this.#pasts.set(chatKey(chat), past);
    this.#store?.write(chatKey(chat), past);
  }

  /** Chats with a past in memory, and the bytes they take. */
  get size(): { readonly chats: number; readonly bytes: number } {
    return { chats: this.#pasts.size, bytes: this.#pasts.calculatedSize };
  }
}

/** The parts of a turn in prompt order: the quote, then the speaker's name (in groups), then what was said. */
export function promptParts(turn: Turn, phrases: Phrases): readonly TurnPart[] {
  const parts: TurnPart[] = [];
  if (turn.quote !== undefined) {
    const name = quotedName(turn.quote, phrases);
    parts.push({ type: "text", text: phrases.quoteStart(name) });
    parts.push(...turn.quote.parts);
    parts.push({ type: "text", text: phrases.quoteEnd });
  }
  if (turn.chat.kind === "group") {
    const name = speakerName(turn.sender, phrases);
    parts.push({ type: "text", text: phrases.speaker(name) });
  }
  parts.push(...turn.parts);
  return parts;
}

/** The names that stand in front of texts in the parts of a turn. */
export function shownNames(turn: Turn, phrases: Phrases): readonly string[] {
  const names: string[] = [];
  if (turn.quote !== undefined) {
    names.push(quotedName(turn.quote, phrases));
  }
  if (turn.chat.kind === "group") names.push(speakerName(turn.sender, phrases));
  return names;
}

function quotedName(quote: Quote, phrases: Phrases): string {
  return cleanName(quote.senderName, phrases.namelessSpeaker(""));
}

function speakerName(sender: Speaker, phrases: Phrases): string {
  return cleanName(sender.name, phrases.namelessSpeaker(sender.id));
}

export function countImages(parts: readonly TurnPart[]): number {
  return parts.filter((part) => part.type === "image").length;
}

/**
 * Puts a note in place of the picture with this index, counted from 0 among those still there.
 * The note is given the number people would use: from 1, with pictures that are already notes.
 */
export function replaceImage(
  parts: readonly TurnPart[],
  index: number,
  note: (number: number) => string,
): readonly TurnPart[] {
  let images = 0;
  let number = 0;
  return parts.map((part) => {
    const isImage = part.type === "image";
    if (isImage || (part.type === "note" && part.replaces === "image")) number++;
    if (!isImage || images++ !== index) return part;
    return { type: "note", text: note(number), replaces: "image" };
  });
}

/** System prompt, past turns and the question, as a model wants them. */
export function toMessages(
  systemPrompt: string,
  past: readonly PastTurn[],
  question: readonly TurnPart[],
): ChatMessage[] {
  const messages: ChatMessage[] = [];
  if (systemPrompt !== "") messages.push({ role: "system", content: systemPrompt });
  for (const turn of past) {
    messages.push({ role: "user", content: toContent(turn.parts) });
    messages.push({ role: "assistant", content: turn.answer });
  }
  messages.push({ role: "user", content: toContent(question) });
  return messages;
}

/** Text and notes that follow one another become one text. */
function toContent(parts: readonly TurnPart[]): string | readonly ContentPart[] {
  const content: ContentPart[] = [];
  for (const part of parts) {
    if (part.type === "image") {
      content.push({ type: "image", data: part.data });
      continue;
    }
    const last = content.at(-1);
    if (last?.type === "text") {
      content[content.length - 1] = { type: "text", text: last.text + part.text };
    } else {
      content.push({ type: "text", text: part.text });
    }
  }
  const [first] = content;
  return content.length === 1 && first?.type === "text" ? first.text : content;
}

/**
 * Keeps the newest turns. A full history loses a quarter at once, not one turn each time:
 * as long as its beginning stays the same, the model can reuse what it computed for it.
 */
function boundTurns(past: readonly PastTurn[], maxTurns: number): readonly PastTurn[] {
  if (past.length <= maxTurns) return past;
  const kept = maxTurns - Math.floor(maxTurns / 4);
  return kept === 0 ? [] : past.slice(-kept);
}

/** Replaces pictures beyond the bounds, oldest first, by a note. */
function boundImages(
  past: readonly PastTurn[],
  limits: HistoryLimits,
  olderImage: string,
): readonly PastTurn[] {
  let images = 0;
  let bytes = 0;
  const bounded = past.toReversed().map((turn) => {
    const parts = turn.parts.toReversed().map((part): TurnPart => {
      if (part.type !== "image") return part;
      images++;
      bytes += part.data.byteLength;
      const kept = images <= limits.maxImages && bytes <= limits.maxImageBytes;
      return kept ? part : { type: "note", text: olderImage, replaces: "image" };
    });
    return { ...turn, parts: parts.toReversed() };
  });
  return bounded.toReversed();
}

/** Bytes of pictures, and of text as JavaScript keeps it; never 0, which the cache refuses. */
function sizeOf(past: readonly PastTurn[]): number {
  let bytes = 1;
  for (const turn of past) {
    bytes += 2 * turn.answer.length;
    for (const name of turn.names ?? []) bytes += 2 * name.length;
    for (const part of turn.parts) {
      bytes += part.type === "image" ? part.data.byteLength : 2 * part.text.length;
    }
  }
  return bytes;
}
