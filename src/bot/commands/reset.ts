// `/重置`: a new talk. What was said in this chat is not remembered any more; nothing that runs is stopped.

import type { Command } from "./command.ts";

export const RESET: Command = {
  names: ["重置", "reset", "new", "新对话"],
  run: ({ message: { chat, sender }, responder, questions, recent, awaited, phrases }) => {
    responder.reset(chat, sender.id);
    questions.reset(chat);
    // What was shown to all is of the old talk of all.
    const whose = responder.isShared(chat) ? undefined : sender.id;
    recent.reset(chat, whose);
    awaited.reset(chat, whose);
    return phrases.resetDone;
  },
};
