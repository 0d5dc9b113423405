// What the bot is called: its nickname, and its name in one group. In: who it is and where. Out: names, from NapCat.
// They are looked up once and kept; not to know them is no failure.

import { LRUCache } from "lru-cache";
import type { NapCatCalls } from "../napcat/calls.ts";
import { isRecord, textOf, type WireRecord, wireId } from "../napcat/wire.ts";
import { type ChatId, chatKey } from "./chat-id.ts";
import { cleanName } from "./speaker-name.ts";

/** An answer waits for them. */
const LOOK_UP_TIMEOUT_MS = 3000;

/** Group names may change; an hour is soon enough. */
const KEPT_MS = 60 * 60 * 1000;

/** Looks up the bot's own names. */
export class OwnNames {
  readonly #calls: NapCatCalls;
  readonly #names = new LRUCache<string, Promise<readonly string[]>>({ max: 500, ttl: KEPT_MS });

  constructor(calls: NapCatCalls) {
    this.#calls = calls;
  }

  /** Its names in a chat, as the model would be shown them; empty if nobody can say. */
  in(chat: ChatId, selfId: string, signal?: AbortSignal): Promise<readonly string[]> {
    const key = `${selfId}/${chatKey(chat)}`;
    const names = this.#names.get(key) ?? this.#lookUp(chat, selfId, signal);
    this.#names.set(key, names);
    names.then(
      (found) => found.length === 0 && this.#names.delete(key),
      () => {},
    );
    return names;
  }

  async #lookUp(chat: ChatId, selfId: string, signal?: AbortSignal): Promise<readonly string[]> {
    const nowhere: WireRecord = {};
    const answers = await Promise.all([
      this.#call("get_login_info", {}, signal),
      chat.kind === "group"
        ? this.#call(
            "get_group_member_info",
            { group_id: wireId(chat.id), user_id: wireId(selfId) },
            signal,
          )
        : nowhere,
    ]);
    const names = answers.flatMap((answer) => [textOf(answer.card), textOf(answer.nickname)]);
    return [...new Set(names.map((name) => cleanName(name, "")))].filter((name) => name !== "");
  }

  async #call(action: string, params: object, signal?: AbortSignal): Promise<WireRecord> {
    const answer = await this.#calls
      .call(action, params, { signal, timeoutMs: LOOK_UP_TIMEOUT_MS })
      .catch(() => undefined);
    return isRecord(answer) ? answer : {};
  }
}
