// What happens to a question when there are others already. In: a question and the policy of its chat.
// Out: a running turn with its deadline and priority, or the error that it is too much now.

import { QueueFullError } from "../../vlm/index.ts";
import type { SettingsOfChats } from "../chat/chat-settings.ts";
import type { IncomingMessage } from "../napcat/events.ts";
import type { PriorityOptions } from "../options.ts";
import type { TriggerName } from "../triggers/triggers.ts";
import type { RunningTurn, RunningTurns } from "./running-turns.ts";

export interface AdmissionOptions {
  readonly turns: RunningTurns;
  readonly settings: SettingsOfChats;
  readonly priority: PriorityOptions;
  readonly admins: readonly string[];
  readonly turnTimeoutMs: number;
}

/** Lets questions in. */
export class Admission {
  readonly #options: AdmissionOptions;

  constructor(options: AdmissionOptions) {
    this.#options = options;
  }

  /**
   * Begins the turn of a question; whoever calls this ends it.
   *
   * @throws {QueueFullError} where one question at a time is all a chat may ask.
   */
  begin({ chat, sender }: IncomingMessage, trigger: TriggerName): RunningTurn {
    const { turns, settings, turnTimeoutMs } = this.#options;
    const { queuePolicy } = settings.of(chat);
    const others = turns.inChat(chat).filter(({ signal }) => !signal.aborted);
    if (queuePolicy === "reject" && others.length > 0) {
      throw new QueueFullError(others.length, 0, 'give the chat another queuePolicy than "reject"');
    }
    if (queuePolicy === "replace") {
      for (const earlier of others) if (earlier.senderId === sender.id) earlier.cancel("replaced");
    }
    const turn = turns.begin({ chat, senderId: sender.id, trigger });
    turn.endAfter(turnTimeoutMs);
    return turn;
  }

  /** Questions of higher priority go to the model first. */
  priorityOf({ chat, sender }: IncomingMessage): number {
    const { priority, admins } = this.#options;
    const forPrivate = chat.kind === "private" ? priority.private : 0;
    const forAdmins = admins.includes(sender.id) ? priority.admins : 0;
    return Math.max(-100, Math.min(100, forPrivate + forAdmins));
  }
}
