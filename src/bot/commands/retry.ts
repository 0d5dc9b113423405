// `/重试`: the last question once more. The answer takes the place of the one before.

import type { Command } from "./command.ts";

export const RETRY: Command = {
  names: ["重试", "retry", "再答一次"],
  run: ({ message, questions, responder, cancellation, askAgain, phrases }) => {
    const question = questions.last(message);
    if (question === undefined) return phrases.nothingToRetry;
    cancellation.stop(message.chat, message.sender.id);
    for (const { messageId } of question.pieces) responder.forgetMessage(message.chat, messageId);
    askAgain(question);
    return undefined;
  },
};
