// Pictures that were sent a moment ago, for questions that come after them, and forwards, which may hold some. In: every
// message. Out: the message somebody may mean. Only references are kept: not a byte is fetched before somebody asks.

import { LRUCache } from "lru-cache";
import type { IncomingMessage, Segment } from "../napcat/events.ts";
import { asksAboutPicture } from "./asks-about-picture.ts";
import { type ChatId, chatKey } from "./chat-id.ts";

export interface RecentPictureLimits {
  /** Milliseconds for which a person's own picture counts as meant by their next question. 0: never. */
  readonly recentOwnMs: number;
  /** The same for what somebody else sent, if the question is about a picture or there is none. 0: never. */
  readonly recentOthersMs: number;
}

const MAX_CHATS = 500;
const MAX_MESSAGES_PER_CHAT = 20;
/** Links are short, but some servers put whole pictures into their events: characters kept of one chat, and of all. */
const MAX_CHARACTERS_PER_CHAT = 4 * 1024 * 1024;
const MAX_CHARACTERS = 4 * MAX_CHARACTERS_PER_CHAT;

/** What a forward brought along counts, too. */
const MAX_FORWARDED = 50;
const MAX_FORWARD_CHARACTERS = 256 * 1024;

/** QQ rounds its times to seconds, NapCat's own do not. */
const CLOCK_MS = 1000;

/** A message with pictures, and when it came. */
interface Sighting {
  readonly message: IncomingMessage;
  readonly arrivedMs: number;
  /** Characters of its references. */
  readonly size: number;
}

/** Remembers which pictures came last in every chat. */
export class RecentPictures {
  readonly #limits: RecentPictureLimits;
  readonly #isInUse: (chat: ChatId, messageId: string) => boolean;
  readonly #now: () => number;
  readonly #chats = new LRUCache<string, readonly Sighting[]>({
    max: MAX_CHATS,
    maxSize: MAX_CHARACTERS,
    sizeCalculation: (sightings) => 1 + sightings.reduce((sum, { size }) => sum + size, 0),
  });

  /**
   * @param isInUse is a turn just dealing with this message? The next one finds its pictures in the history.
   * @param now milliseconds of a clock that does not jump
   */
  constructor(
    limits: RecentPictureLimits,
    isInUse: (chat: ChatId, messageId: string) => boolean = () => false,
    now: () => number = () => performance.now(),
  ) {
    this.#limits = limits;
    this.#isInUse = isInUse;
    this.#now = now;
  }

  /** A message came, whether or not it is for the bot. */
  note(message: IncomingMessage): void {
    if (message.fromSelf || !showsPictures(message)) return;
    // References are all that is kept: what was said beside them is nobody's business yet.
    const segments = message.segments.filter(isPicture).map(bounded);
    const now = this.#now();
    const sighting = { message: { ...message, segments }, arrivedMs: now, size: sizeOf(segments) };
    const keptMs = Math.max(this.#limits.recentOwnMs, this.#limits.recentOthersMs);
    const key = chatKey(message.chat);
    const earlier = (this.#chats.get(key) ?? []).filter(
      ({ arrivedMs }) => now - arrivedMs < keptMs,
    );
    this.#chats.set(key, newest([...earlier, sighting]));
  }

  /** A message was taken back, or answered: from then on the history has its pictures. */
  forgetMessage(chat: ChatId, messageId: string): void {
    const key = chatKey(chat);
    const kept = this.#chats.get(key)?.filter(({ message }) => message.messageId !== messageId);
    if (kept !== undefined) this.#chats.set(key, kept);
  }

  /** A chat, or one person's part of it, was reset: what was shown before is not meant by what is asked after. */
  reset(chat: ChatId, senderId?: string): void {
    if (senderId === undefined) this.#chats.delete(chatKey(chat));
    else this.#drop(chatKey(chat), senderId);
  }

  forgetPerson(senderId: string): void {
    for (const key of [...this.#chats.keys()]) this.#drop(key, senderId);
  }

  /**
   * The message whose pictures this question, which has none itself, may be about: the newest of the same person,
   * else the newest of the chat if the question asks about a picture or says nothing at all.
   */
  meantBy(question: IncomingMessage): IncomingMessage | undefined {
    const { recentOwnMs, recentOthersMs } = this.#limits;
    const fresh = (this.#chats.get(chatKey(question.chat)) ?? []).filter(
      ({ message }) =>
        message.messageId !== question.messageId && !this.#isInUse(message.chat, message.messageId),
    );
    const own = fresh.findLast(
      (sighting) =>
        sighting.message.sender.id === question.sender.id &&
        this.#age(sighting, question) < recentOwnMs,
    );
    if (own !== undefined) return own.message;
    const text = textOf(question);
    if (text !== "" && asksAboutPicture(text) === "no") return undefined;
    return fresh.findLast((sighting) => this.#age(sighting, question) < recentOthersMs)?.message;
  }

  #drop(key: string, senderId: string): void {
    const kept = this.#chats.get(key)?.filter(({ message }) => message.sender.id !== senderId);
    if (kept !== undefined) this.#chats.set(key, kept);
  }

  /** By QQ's clock where both messages have its time: after an outage they arrive together. */
  #age({ message, arrivedMs }: Sighting, question: IncomingMessage): number {
    if (message.timeMs === undefined || question.timeMs === undefined) {
      return this.#now() - arrivedMs;
    }
    const age = question.timeMs - message.timeMs;
    // A question older than the picture is not about it. Times are whole seconds, mostly.
    return age < -CLOCK_MS ? Infinity : age;
  }
}

/** Does it hold pictures, or a forward, which may? */
export function showsPictures({ segments }: IncomingMessage): boolean {
  return segments.some(isPicture);
}

function isPicture({ type }: Segment): boolean {
  return type === "image" || type === "forward";
}

/** Of a forward that came with what it holds, no more is kept than anybody would read. */
function bounded(segment: Segment): Segment {
  if (segment.type !== "forward" || segment.content === undefined) return segment;
  const content = Array.isArray(segment.content)
    ? segment.content.slice(0, MAX_FORWARDED)
    : undefined;
  // What is too long is looked up again, if somebody asks.
  const fits = charactersOf(content) <= MAX_FORWARD_CHARACTERS;
  return { ...segment, content: fits ? content : undefined };
}

function charactersOf(content: unknown): number {
  return content === undefined ? 0 : JSON.stringify(content).length;
}

/** What a message says in words, without mentions. */
export function textOf({ segments }: IncomingMessage): string {
  return segments
    .map((segment) => (segment.type === "text" ? segment.text : ""))
    .join("")
    .trim();
}

/** The end of a list that is within the bounds of a chat. */
function newest(sightings: readonly Sighting[]): readonly Sighting[] {
  let characters = 0;
  const start = sightings.findLastIndex(({ size }, index) => {
    characters += size;
    return characters > MAX_CHARACTERS_PER_CHAT || index < sightings.length - MAX_MESSAGES_PER_CHAT;
  });
  return sightings.slice(start + 1);
}

function sizeOf(segments: readonly Segment[]): number {
  return segments.reduce((sum, segment) => {
    if (segment.type === "forward") return sum + segment.id.length + charactersOf(segment.content);
    if (segment.type !== "image") return sum;
    return sum + segment.image.url.length + segment.image.file.length;
  }, 0);
}
