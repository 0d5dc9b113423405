// `/停止`: no answer is wanted any more: to one's own questions, or with `全部` to those of everybody in the chat.

import { reaches } from "../rank.ts";
import type { Command } from "./command.ts";

const ALL = /^(全部|所有|all)$/iu;

export const STOP: Command = {
  names: ["停止", "stop", "停"],
  run: ({ message, argument, rank, cancellation, phrases }) => {
    const everybody = ALL.test(argument.trim());
    if (everybody && !reaches(rank, "group-admin")) return phrases.commandDenied;
    const stopped = cancellation.stop(message.chat, everybody ? undefined : message.sender.id);
    return stopped > 0 ? phrases.stopped : phrases.nothingToStop;
  },
};
