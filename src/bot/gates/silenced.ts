// Chats in which somebody told the bot to be silent. In: a message. Out: a refusal, or nothing. Commands are not asked
// about: one of them lifts the silence.

import type { ChatSwitches } from "../chat/chat-switches.ts";
import type { IncomingMessage } from "../napcat/events.ts";
import type { Gate, Refusal } from "../pipeline/gate.ts";

/** Refuses questions in silenced chats. */
export class Silenced implements Gate {
  readonly #switches: Pick<ChatSwitches, "isMuted">;

  constructor(switches: Pick<ChatSwitches, "isMuted">) {
    this.#switches = switches;
  }

  refuse({ chat }: IncomingMessage): Refusal | undefined {
    return this.#switches.isMuted(chat) ? { reason: "silenced" } : undefined;
  }
}
