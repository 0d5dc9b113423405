// `/忘记`: everything that is kept of what a person asked is gone, with pictures and what was computed of them; with `全部`,
// everything that is kept of the chat.

import { reaches } from "../rank.ts";
import type { Command } from "./command.ts";

const ALL = /^(全部|所有|all)$/iu;

export const FORGET: Command = {
  names: ["忘记", "forget"],
  run: ({ message, argument, rank, responder, questions, cancellation, phrases }) => {
    const { chat, sender } = message;
    const whole = chat.kind === "private" || ALL.test(argument.trim());
    if (whole && !reaches(rank, "group-admin")) return phrases.commandDenied;
    cancellation.stop(chat, whole ? undefined : sender.id);
    if (whole) cancellation.forgetChat(chat);
    for (const { pieces } of questions.all(message)) {
      for (const { messageId } of pieces) responder.forgetMessage(chat, messageId);
    }
    if (sender.id === chat.id || !whole) cancellation.forgetPerson(sender.id);
    return whole ? phrases.forgotChat : phrases.forgotPerson;
  },
};
