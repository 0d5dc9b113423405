// `/撤销`: the last question of a person and its answer are as if they had not been, also one from before a restart.

import type { Command } from "./command.ts";

export const UNDO: Command = {
  names: ["撤销", "undo"],
  run: ({ message, questions, responder, cancellation, phrases }) => {
    const asked = questions.takeLast(message)?.pieces.map(({ messageId }) => messageId);
    const kept = responder.lastQuestion(message.chat, message.sender.id)?.messageIds?.slice(0, 1);
    const messageIds = asked ?? kept;
    if (messageIds === undefined) return phrases.nothingToUndo;
    cancellation.stop(message.chat, message.sender.id);
    for (const messageId of messageIds) responder.forgetMessage(message.chat, messageId);
    return phrases.undone;
  },
};
