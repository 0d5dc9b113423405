// `/撤销`: the last question of a person and its answer are as if they had not been.

import type { Command } from "./command.ts";

export const UNDO: Command = {
  names: ["撤销", "undo"],
  run: ({ message, questions, responder, cancellation, phrases }) => {
    const question = questions.takeLast(message);
    if (question === undefined) return phrases.nothingToUndo;
    cancellation.stop(message.chat, message.sender.id);
    for (const { messageId } of question.pieces) responder.forgetMessage(message.chat, messageId);
    return phrases.undone;
  },
};
