// `/重置`: a new talk. What was said in this chat is not remembered any more; nothing that runs is stopped.

import type { Command } from "./command.ts";

export const RESET: Command = {
  names: ["重置", "reset", "new", "新对话"],
  run: ({ message, responder, questions, phrases }) => {
    responder.reset(message.chat, message.sender.id);
    questions.reset(message.chat);
    return phrases.resetDone;
  },
};
