// What people change about one chat while the bot runs: who may ask, whether it is silent, and as whom it speaks.
// In: changes that commands make. Out: what holds now. It knows nothing of what follows from that.

import { type ChatId, chatKey } from "./chat-id.ts";

export interface ChatSwitch {
  /** In place of what the lists say. */
  readonly access?: "allow" | "deny" | undefined;
  /** Milliseconds since 1970 until when the bot says nothing but answers to commands; `Infinity` until it is told. */
  readonly mutedUntilMs?: number | undefined;
  /** System prompt in place of the bot's own. */
  readonly persona?: string | undefined;
}

/** Where changes outlive the process, under `chatKey`. It must not throw: what cannot be stored is lost, no more. */
export interface ChatSwitchStore {
  read(key: string): ChatSwitch | undefined;
  write(key: string, value: ChatSwitch): void;
}

const NOTHING: ChatSwitch = {};

/** What was changed, by chat. */
export class ChatSwitches {
  readonly #store: ChatSwitchStore | undefined;
  readonly #now: () => number;
  /** Not bounded: only the people who run a bot or a group can add to it. */
  readonly #known = new Map<string, ChatSwitch>();

  /** @param store asked once for each chat */
  constructor(store?: ChatSwitchStore, now: () => number = Date.now) {
    this.#store = store;
    this.#now = now;
  }

  of(chat: ChatId): ChatSwitch {
    const key = chatKey(chat);
    const known = this.#known.get(key);
    if (known !== undefined || this.#store === undefined) return known ?? NOTHING;
    const stored = this.#store.read(key) ?? NOTHING;
    this.#known.set(key, stored);
    return stored;
  }

  isMuted(chat: ChatId): boolean {
    const { mutedUntilMs } = this.of(chat);
    return mutedUntilMs !== undefined && this.#now() < mutedUntilMs;
  }

  change(chat: ChatId, change: ChatSwitch): void {
    const changed = { ...this.of(chat), ...change };
    this.#known.set(chatKey(chat), changed);
    this.#store?.write(chatKey(chat), changed);
  }

  /** For this long from now, or until it is told. */
  mute(chat: ChatId, durationMs = Infinity): void {
    this.change(chat, { mutedUntilMs: this.#now() + durationMs });
  }
}
