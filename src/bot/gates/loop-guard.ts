// Two bots that answer each other never stop: this one does. In: who speaks, what was answered and said. Out: a refusal
// for one who only repeats, or who has been talking to the bot alone and fast for too long.

import { LRUCache } from "lru-cache";
import { type ChatId, chatKey } from "../chat/chat-id.ts";
import type { IncomingMessage } from "../napcat/events.ts";
import type { AskedGate, Gate, Refusal } from "../pipeline/gate.ts";
import { typedText } from "../triggers/trigger.ts";

export interface LoopGuardOptions {
  /** Answers to one and the same speaker, with nobody else speaking in between, after which the bot falls silent; 0: never. */
  readonly exchanges: number;
  /** The time those have to fall into. */
  readonly withinMs: number;
  /** How long it is silent to that speaker, unless somebody else speaks. */
  readonly quietMs: number;
  /** Ask QQ about everybody who asks for the first time whether they are a bot: one call for each person. */
  readonly askRobots: boolean;
}

/** People say "好的" to a "好的"; whole sentences they do not repeat. */
const MIN_ECHO_CHARACTERS = 6;
const MAX_SAID = 5;
const MAX_CHATS = 2000;

interface Talk {
  readonly speaker: string;
  /** When it was answered, newest last. */
  readonly answeredAt: readonly number[];
  readonly quietUntil: number;
}

/** Watches for conversations that no person takes part in. */
export class LoopGuard implements AskedGate {
  readonly #options: LoopGuardOptions;
  readonly #admins: readonly string[];
  readonly #now: () => number;
  readonly #talks = new LRUCache<string, Talk>({ max: MAX_CHATS });
  readonly #said = new LRUCache<string, readonly string[]>({ max: MAX_CHATS });

  /** @param now milliseconds of any clock that does not jump */
  constructor(
    options: LoopGuardOptions,
    admins: readonly string[],
    now: () => number = () => performance.now(),
  ) {
    this.#options = options;
    this.#admins = admins;
    this.#now = now;
  }

  /** Hears every message and refuses none: somebody else who speaks ends the talk of two. */
  readonly atDoor: Gate = {
    refuse: ({ chat, sender }) => {
      const talk = this.#talks.get(chatKey(chat));
      if (talk !== undefined && talk.speaker !== sender.id) this.#talks.delete(chatKey(chat));
      return undefined;
    },
  };

  refuse(message: IncomingMessage): Refusal | undefined {
    const { chat, sender } = message;
    if (this.#admins.includes(sender.id)) return undefined;
    if (this.#isEcho(chat, typedText(message))) return { reason: "echo" };
    const talk = this.#talks.get(chatKey(chat));
    if (talk === undefined || talk.speaker !== sender.id) return undefined;
    return this.#now() < talk.quietUntil ? { reason: "loop" } : undefined;
  }

  /** The bot said something. */
  said(chat: ChatId, text: string): void {
    const said = comparable(text);
    if (said.length < MIN_ECHO_CHARACTERS) return;
    const before = this.#said.get(chatKey(chat)) ?? [];
    this.#said.set(chatKey(chat), [...before, said].slice(-MAX_SAID));
  }

  /** A question of this person was answered. */
  answered(chat: ChatId, speaker: string): void {
    const { exchanges, withinMs, quietMs } = this.#options;
    if (exchanges === 0) return;
    const now = this.#now();
    const talk = this.#talks.get(chatKey(chat));
    const before = talk?.speaker === speaker ? talk.answeredAt : [];
    const answeredAt = [...before, now].filter((at) => now - at < withinMs).slice(-exchanges);
    const isLoop = answeredAt.length >= exchanges;
    this.#talks.set(chatKey(chat), {
      speaker,
      answeredAt: isLoop ? [] : answeredAt,
      quietUntil: isLoop ? now + quietMs : -Infinity,
    });
  }

  #isEcho(chat: ChatId, text: string): boolean {
    return this.#said.get(chatKey(chat))?.includes(comparable(text)) === true;
  }
}

function comparable(text: string): string {
  return text.replace(/\s+/gu, "");
}
