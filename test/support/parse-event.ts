// An event as the bot sees it, for tests of parts that take messages.

import { type IncomingMessage, parseMessageEvent } from "../../src/bot/napcat/events.ts";

export function parseEvent(event: unknown): IncomingMessage {
  const parsed = parseMessageEvent(event);
  if (parsed.kind !== "message") throw new Error(parsed.kind);
  return parsed.message;
}
