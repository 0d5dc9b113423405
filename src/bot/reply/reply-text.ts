// What people read of a reply: its text, or a sentence where there is none.

import type { Reply } from "../chat/answer-text.ts";
import type { PeoplePhrases } from "./phrases.ts";

/** The text of a reply; where it has none, whether the model had nothing to say or never came to say it. */
export function replyText({ text, reasoning, result }: Reply, phrases: PeoplePhrases): string {
  const trimmed = text.trim();
  if (trimmed !== "") return trimmed;
  const ranOut = result.finishReason === "max-tokens" || result.finishReason === "context-full";
  return ranOut || reasoning.trim() !== "" ? phrases.onlyThought : phrases.emptyAnswer;
}
