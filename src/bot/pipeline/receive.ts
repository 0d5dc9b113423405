// First stage: an event off the wire in, a message that may have to be answered out, or nothing.
// It asks the gates, and says once when something about the connection is wrong. It knows nothing of triggers.

import type { Logger } from "../logger.ts";
import { type IncomingMessage, parseMessageEvent, type StickerPolicy } from "../napcat/events.ts";
import { type Gate, refusedBy } from "./gate.ts";

export interface ReceiveOptions {
  readonly gates: readonly Gate[];
  readonly logger: Logger;
  /** What is made of stickers. @default "see" */
  readonly stickers?: StickerPolicy;
  /** Told of every message that somebody else wrote. */
  readonly onMessage?: (message: IncomingMessage) => void;
  /** Told of every message that is too old to be answered: what it shows may still be meant by a newer one. */
  readonly onStale?: (message: IncomingMessage) => void;
}

/** What is worth a line in the log, the first time it happens. */
const WARNINGS: Readonly<Record<string, string>> = {
  "string-format":
    "NapCat sends messages as strings, which lose links and can be forged by typing. They are not answered. " +
    'Set "messagePostFormat" to "array" in the settings of its WebSocket server.',
  stale:
    "A message was too old to be answered. After an outage this is normal; " +
    "if it happens all the time, compare the clock of this machine with that of NapCat's.",
};

/** Takes events. */
export class Receive {
  readonly #gates: readonly Gate[];
  readonly #logger: Logger;
  readonly #stickers: StickerPolicy | undefined;
  readonly #onMessage: (message: IncomingMessage) => void;
  readonly #onStale: (message: IncomingMessage) => void;
  readonly #warned = new Set<string>();

  constructor(options: ReceiveOptions) {
    const { gates, logger, stickers, onMessage = () => {}, onStale = () => {} } = options;
    this.#gates = gates;
    this.#logger = logger;
    this.#stickers = stickers;
    this.#onMessage = onMessage;
    this.#onStale = onStale;
  }

  /** Never throws. */
  take(wire: unknown): IncomingMessage | undefined {
    const parsed = parseMessageEvent(wire, this.#stickers);
    if (parsed.kind === "string-format") this.#warnOnce("string-format");
    return parsed.kind === "message" ? this.admit(parsed.message) : undefined;
  }

  /** The message, if no gate has anything against it. */
  admit(message: IncomingMessage): IncomingMessage | undefined {
    if (message.fromSelf) return undefined;
    this.#onMessage(message);
    const refusal = refusedBy(this.#gates, message);
    if (refusal === undefined) return message;
    if (refusal.reason === "stale") this.#onStale(message);
    this.#warnOnce(refusal.reason);
    return undefined;
  }

  #warnOnce(reason: string): void {
    const warning = Object.hasOwn(WARNINGS, reason) ? WARNINGS[reason] : undefined;
    if (warning === undefined || this.#warned.has(reason)) return;
    this.#warned.add(reason);
    this.#logger.warn(warning);
  }
}
