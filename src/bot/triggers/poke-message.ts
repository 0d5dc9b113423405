// A poke as a message, so that it takes the same way as any other: of the person who did it, with nothing in it.

import { randomUUID } from "node:crypto";
import type { IncomingMessage } from "../napcat/events.ts";
import type { Notice } from "../napcat/notices.ts";

export function pokeMessage({
  chat,
  selfId,
  userId,
}: Extract<Notice, { kind: "poke" }>): IncomingMessage {
  return {
    selfId,
    messageId: `poke-${randomUUID()}`,
    chat,
    target:
      chat.kind === "group"
        ? { kind: "group", groupId: chat.id }
        : { kind: "private", userId: chat.id },
    sender: { id: userId, name: "" },
    fromSelf: false,
    timeMs: undefined,
    segments: [],
    poke: true,
  };
}
