// What may speak against answering a message: small policies, asked in turn. In: a message. Out: a refusal, or nothing.
// A new policy is a new file in `gates/`; it knows nothing of the stages that ask it.

import type { IncomingMessage } from "../napcat/events.ts";

/** Why a message is not answered. */
export interface Refusal {
  /** One word for logs and counters, such as `repeated`. */
  readonly reason: string;
  /** A sentence for the chat. Left out: silence. */
  readonly notice?: string;
}

/** A policy that is asked about every message, before anybody looks at what it says: it must be quick. */
export interface Gate {
  refuse(message: IncomingMessage): Refusal | undefined;
}

/** A policy that is asked about messages that are known to be for the bot; it may take its time. */
export interface AskedGate {
  refuse(message: IncomingMessage): Refusal | undefined | Promise<Refusal | undefined>;
}

/** The refusal of the first gate that has one. */
export function refusedBy(gates: readonly Gate[], message: IncomingMessage): Refusal | undefined {
  for (const gate of gates) {
    const refusal = gate.refuse(message);
    if (refusal !== undefined) return refusal;
  }
  return undefined;
}

/** As {@link refusedBy}, for gates that may take their time. */
export async function refusedByAsked(
  gates: readonly AskedGate[],
  message: IncomingMessage,
): Promise<Refusal | undefined> {
  for (const gate of gates) {
    const refusal = await gate.refuse(message);
    if (refusal !== undefined) return refusal;
  }
  return undefined;
}
