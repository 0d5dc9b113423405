// Who may talk to the bot, and where. In: a message. Out: a refusal, or nothing. Whoever is not allowed is not listened
// to at all; the people who run the bot are heard everywhere, so that they can say `/allow` in a group it does not serve.

import type { ChatSwitches } from "../chat/chat-switches.ts";
import type { IncomingMessage } from "../napcat/events.ts";
import type { Gate, Refusal } from "../pipeline/gate.ts";
import { AllowedIds, type IdLists } from "./id-lists.ts";

export interface AccessOptions {
  /** Group numbers. */
  readonly groups: IdLists;
  /** QQ numbers; admins need not be among them. */
  readonly users: IdLists;
  /** Private messages of friends. */
  readonly friends: boolean;
  /** Private messages of people who are no friends, through a group both are in. */
  readonly temporary: boolean;
}

/** Keeps the bot to those it is for. */
export class Access implements Gate {
  readonly #options: AccessOptions;
  readonly #admins: ReadonlySet<string>;
  readonly #switches: Pick<ChatSwitches, "of">;
  readonly #groups: AllowedIds;
  readonly #users: AllowedIds;

  constructor(
    options: AccessOptions,
    admins: readonly string[],
    switches: Pick<ChatSwitches, "of">,
  ) {
    this.#options = options;
    this.#admins = new Set(admins);
    this.#switches = switches;
    this.#groups = new AllowedIds(options.groups);
    this.#users = new AllowedIds(options.users);
  }

  /** Asked at the door: admins always come in. */
  readonly atDoor: Gate = {
    refuse: (message) => (this.#admins.has(message.sender.id) ? undefined : this.refuse(message)),
  };

  /** Asked before a question: a group that is not served is not served to admins either. */
  refuse(message: IncomingMessage): Refusal | undefined {
    const isAdmin = this.#admins.has(message.sender.id);
    if (!isAdmin && !this.#users.has(message.sender.id)) return { reason: "user-denied" };
    return this.#serves(message, isAdmin) ? undefined : { reason: "chat-denied" };
  }

  #serves({ chat, target }: IncomingMessage, isAdmin: boolean): boolean {
    const { access } = this.#switches.of(chat);
    if (access !== undefined) return access === "allow";
    if (chat.kind === "group") return this.#groups.has(chat.id);
    if (isAdmin) return true;
    const isTemporary = target.kind === "private" && target.temporary === true;
    return isTemporary ? this.#options.temporary : this.#options.friends;
  }
}
