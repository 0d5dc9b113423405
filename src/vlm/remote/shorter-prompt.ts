// A conversation that was too long for a server in, a shorter one out. It counts no tokens: only the server can.

import type { ChatMessage } from "../vision-language-model.ts";

export interface ShorterPrompt {
  readonly messages: readonly ChatMessage[];
  readonly droppedTurns: number;
}

/**
 * Leaves out the older half of the turns in front of the newest one. A turn is a user message and everything up to the
 * next one; what stands in front of the first stays.
 *
 * @returns undefined where the newest turn is all there is
 */
export function withoutOldestTurns(messages: readonly ChatMessage[]): ShorterPrompt | undefined {
  const starts = messages.flatMap(({ role }, index) => (role === "user" ? [index] : []));
  const older = starts.length - 1;
  if (older < 1) return undefined;
  const droppedTurns = Math.ceil(older / 2);
  const kept = [...messages.slice(0, starts[0]), ...messages.slice(starts[droppedTurns])];
  return { messages: kept, droppedTurns };
}
