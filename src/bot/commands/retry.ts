// `/重试`: the last question once more. The answer takes the place of the one before. After a restart, a store still has
// the question.

import type { AskedQuestion } from "./asked-questions.ts";
import type { Command, CommandContext } from "./command.ts";

export const RETRY: Command = {
  names: ["重试", "retry", "再答一次"],
  run: (context) => {
    const { message, questions, responder, cancellation, askAgain, phrases } = context;
    const asked = questions.last(message);
    const question = asked ?? readBack(context);
    if (question === undefined) return phrases.nothingToRetry;
    cancellation.stop(message.chat, message.sender.id);
    const first = asked === undefined ? question.messageIds.slice(0, 1) : idsOf(asked);
    for (const messageId of first) responder.forgetMessage(message.chat, messageId);
    askAgain(question);
    return undefined;
  },
};

/** The question, asked by the message that wants it again. */
function readBack({ message, responder }: CommandContext): AskedQuestion | undefined {
  const turn = responder.lastQuestion(message.chat, message.sender.id);
  if (turn === undefined) return undefined;
  const trigger = message.chat.kind === "private" ? "private" : "mention";
  return { pieces: [message], trigger, turn, messageIds: turn.messageIds ?? [] };
}

function idsOf({ pieces }: AskedQuestion): readonly string[] {
  return pieces.map(({ messageId }) => messageId);
}
