// Quotes that are asked for more than once: by a trigger, and when the turn is put together. In: a message.
// Out: what it quotes, looked up once. It knows nothing of who asks.

import type { NapCatCalls } from "../napcat/calls.ts";
import type { IncomingMessage } from "../napcat/events.ts";
import type { Sender } from "../napcat/send.ts";
import { quotedId } from "../triggers/trigger.ts";
import { lookUpQuote, type QuotedMessage } from "./quoted-message.ts";

/** Looks quotes up, each message's once. */
export class QuoteLookups {
  readonly #calls: NapCatCalls;
  readonly #sender: Sender;
  readonly #signal: AbortSignal;
  readonly #found = new WeakMap<IncomingMessage, Promise<QuotedMessage>>();

  /**
   * @param signal ends every look-up. No time of a turn does: as long as nobody is known to have asked the bot,
   * nobody wants to hear that it was too slow.
   */
  constructor(calls: NapCatCalls, sender: Sender, signal: AbortSignal) {
    this.#calls = calls;
    this.#sender = sender;
    this.#signal = signal;
  }

  /** @throws {unknown} the signal's reason when aborted, and nothing else. */
  of(message: IncomingMessage): Promise<QuotedMessage> {
    const known = this.#found.get(message);
    if (known !== undefined) return known;
    const found = lookUpQuote(message, this.#calls, this.#signal);
    this.#found.set(message, found);
    return found;
  }

  /** Does this message quote one of the bot's own? */
  async isOfBot(message: IncomingMessage): Promise<boolean> {
    const quote = await this.of(message);
    if (quote.kind === "found" && quote.message.fromSelf) return true;
    return this.#sender.hasSent(message.chat, quotedId(message) ?? "");
  }
}
