// Second stage: a message in, a question to the bot out, or nothing. Triggers say whether it is one, then the policies
// whether it may be asked now. It knows nothing of what the question says.

import type { SettingsOfChats } from "../chat/chat-settings.ts";
import type { QuoteLookups } from "../chat/quote-lookups.ts";
import type { IncomingMessage } from "../napcat/events.ts";
import type { AskModel } from "../triggers/ask-model.ts";
import { decideTrigger, type TriggerName } from "../triggers/triggers.ts";
import { type AskedGate, type Gate, type Refusal, refusedBy, refusedByAsked } from "./gate.ts";
import type { HookRunner } from "./hooks.ts";

export interface AskOptions {
  readonly settings: SettingsOfChats;
  readonly quotes: QuoteLookups;
  readonly askModel: AskModel;
  readonly hooks: HookRunner;
  /** Asked about every message that is no command. */
  readonly beforeTrigger: readonly Gate[];
  /** Asked about every question. */
  readonly beforeTurn: readonly AskedGate[];
}

/** Finds out which messages are for the bot. */
export class Ask {
  readonly #options: AskOptions;

  constructor(options: AskOptions) {
    this.#options = options;
  }

  /** Why nothing in this chat is answered, for anybody or for this person. */
  closed(message: IncomingMessage): Refusal | undefined {
    return refusedBy(this.#options.beforeTrigger, message);
  }

  /** What makes this message one for the bot; a promise only where something has to be looked up. */
  trigger(message: IncomingMessage): TriggerName | undefined | Promise<TriggerName | undefined> {
    if (this.closed(message) !== undefined) return undefined;
    const settled = this.#options.hooks.beforeTrigger(message);
    if (settled === undefined) return this.#decide(message);
    return settled.then((isForBot) => {
      if (isForBot === undefined) return this.#decide(message);
      return isForBot ? "hook" : undefined;
    });
  }

  #decide(message: IncomingMessage): TriggerName | undefined | Promise<TriggerName | undefined> {
    const { settings, quotes, askModel } = this.#options;
    const { triggers } = settings.of(message.chat);
    return decideTrigger(message, {
      triggers,
      quotesBot: () => quotes.isOfBot(message),
      wantsAnswer: () => askModel.wantsAnswer(message, triggers.decide.perMinute),
      random: Math.random,
    });
  }

  /** Why this message, which is for the bot, is not answered all the same. */
  refusal(message: IncomingMessage): Promise<Refusal | undefined> {
    return refusedByAsked(this.#options.beforeTurn, message);
  }
}
