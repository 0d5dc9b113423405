// What is different in one chat: its triggers, what happens when somebody asks while an answer is being written, as whom
// the bot speaks, and who shares a past.
// In: a chat. Out: its settings. It knows nothing of what they do.

import { object, oneOf, record, text } from "../../parse-options.ts";
import { TRIGGERS_SCHEMA, type TriggerOptions, withTriggers } from "../triggers/trigger-options.ts";
import type { Triggers } from "../triggers/triggers.ts";
import { type ChatId, chatKey } from "./chat-id.ts";
import { ISOLATIONS, type Isolation } from "./history-key.ts";
import type { ChatCharacter } from "./responder.ts";

/**
 * What happens to a question that comes while another one of the chat is being answered.
 * - `queue`: it waits
 * - `replace`: it takes the place of earlier ones of the same person; those of others it waits for
 * - `reject`: the asker is told to come back later
 */
export type QueuePolicy = "queue" | "replace" | "reject";

/** The settings of one chat. */
export interface ChatSettings extends ChatCharacter {
  readonly triggers: Triggers;
  readonly queuePolicy: QueuePolicy;
}

/** What is different in a chat; the rest is as everywhere. */
export interface ChatOverrides {
  readonly triggers?: TriggerOptions;
  readonly queuePolicy?: QueuePolicy;
  /** First message of every prompt: as whom the bot speaks; `""` for none. */
  readonly systemPrompt?: string;
  /** Who shares a past. */
  readonly isolation?: Isolation;
}

/** By `group:123456` or `private:123456`, or `group:*` and `private:*` for all of a kind. */
export type ChatOverridesByChat = Readonly<Record<string, ChatOverrides>>;

export const QUEUE_POLICIES = [
  "queue",
  "replace",
  "reject",
] as const satisfies readonly QueuePolicy[];

/** @internal */
export const CHATS_SCHEMA = record(
  /^(group|private):(\*|[\w-]+)$/u,
  object({
    triggers: TRIGGERS_SCHEMA.optional(),
    queuePolicy: oneOf(QUEUE_POLICIES).optional(),
    systemPrompt: text().optional(),
    isolation: oneOf(ISOLATIONS).optional(),
  }),
  "an object with keys such as `group:123456` or `private:*`",
);

/** What of a bot's options is about its chats: what holds everywhere, and what is different in some. */
export function chatOptions(options: {
  readonly triggers: Triggers;
  readonly queuePolicy: QueuePolicy;
  readonly chats: ChatOverridesByChat;
  readonly responder: ChatCharacter;
}): [everywhere: ChatSettings, overrides: ChatOverridesByChat] {
  const { triggers, queuePolicy, chats } = options;
  const { systemPrompt, isolation } = options.responder;
  return [{ triggers, queuePolicy, systemPrompt, isolation }, chats];
}

/** Knows the settings of every chat. */
export class SettingsOfChats {
  #everywhere: ChatSettings;
  #overrides: ChatOverridesByChat;
  readonly #known = new Map<string, ChatSettings>();

  constructor(everywhere: ChatSettings, overrides: ChatOverridesByChat = {}) {
    this.#everywhere = everywhere;
    this.#overrides = overrides;
  }

  /** From now on other settings hold. */
  replace(everywhere: ChatSettings, overrides: ChatOverridesByChat = {}): void {
    this.#everywhere = everywhere;
    this.#overrides = overrides;
    this.#known.clear();
  }

  of(chat: ChatId): ChatSettings {
    const own = Object.hasOwn(this.#overrides, chatKey(chat)) ? chatKey(chat) : `${chat.kind}:*`;
    const overrides = this.#overrides[own];
    if (overrides === undefined) return this.#everywhere;
    const known = this.#known.get(own);
    if (known !== undefined) return known;
    const settings = {
      triggers: withTriggers(this.#everywhere.triggers, overrides.triggers),
      queuePolicy: overrides.queuePolicy ?? this.#everywhere.queuePolicy,
      systemPrompt: overrides.systemPrompt ?? this.#everywhere.systemPrompt,
      isolation: overrides.isolation ?? this.#everywhere.isolation,
    };
    this.#known.set(own, settings);
    return settings;
  }
}
