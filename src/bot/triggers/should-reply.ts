// Would the bot answer this in a group if nobody addressed it? In: a turn that came another way than through QQ.
// Out: what the triggers of its chat say of it. It knows nothing of where the turn came from.

import type { SettingsOfChats } from "../chat/chat-settings.ts";
import type { Turn } from "../chat/turn.ts";
import type { IncomingMessage, Segment } from "../napcat/events.ts";
import type { AskModel } from "./ask-model.ts";
import { decideTrigger } from "./triggers.ts";

/** Decides about turns as about messages. */
export type ShouldReply = (turn: Turn) => Promise<boolean>;

export function shouldReplyBy(settings: SettingsOfChats, askModel: AskModel): ShouldReply {
  return async (turn) => {
    const message = messageOf(turn);
    const { triggers } = settings.of(turn.chat);
    const trigger = await decideTrigger(message, {
      triggers,
      quotesBot: async () => false,
      wantsAnswer: () => askModel.wantsAnswer(message, triggers.decide.perMinute),
      random: Math.random,
    });
    return trigger !== undefined;
  };
}

/** The turn as a message that mentions and quotes nobody. */
function messageOf({ chat, sender, parts }: Turn): IncomingMessage {
  return {
    selfId: "",
    messageId: "",
    chat,
    target:
      chat.kind === "group"
        ? { kind: "group", groupId: chat.id }
        : { kind: "private", userId: chat.id },
    sender,
    fromSelf: false,
    timeMs: undefined,
    segments: parts.map((part, index): Segment => {
      if (part.type !== "image") return { type: "text", text: part.text };
      const image = {
        file: "",
        url: "",
        bytes: undefined,
        messageId: "",
        index,
        marketFace: false,
      };
      return { type: "image", image };
    }),
  };
}
