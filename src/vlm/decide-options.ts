// What a caller may ask to be decided, checked once at the door. It knows nothing of what decides.

import {
  abortSignal,
  kindsOf,
  list,
  literal,
  matching,
  nonEmptyText,
  number,
  object,
  parseOptions,
  unexpected,
} from "../parse-options.ts";
import { MESSAGES_SCHEMA } from "./chat-messages.ts";
import type { ChatMessage, DecideQuestion, DecideRequest } from "./vision-language-model.ts";

export interface ResolvedDecide {
  readonly messages: readonly ChatMessage[];
  readonly questions: readonly DecideQuestion[];
  readonly chat: string | undefined;
  readonly priority: number;
}

const MOST_NUMBERS = 10_000;
const wholeNumber = matching<number>("an integer", Number.isSafeInteger);

const DECIDE_SCHEMA = object({
  messages: MESSAGES_SCHEMA,
  questions: list(
    kindsOf(
      "type",
      [
        object({
          type: literal("yes-no"),
          question: nonEmptyText(),
          yes: nonEmptyText().optional(),
          no: nonEmptyText().optional(),
        }),
        object({
          type: literal("choice"),
          question: nonEmptyText(),
          options: list(nonEmptyText(), "a list of non-empty strings"),
        }),
        object({
          type: literal("number"),
          question: nonEmptyText(),
          min: wholeNumber,
          max: wholeNumber,
        }),
        object({ type: literal("box"), question: nonEmptyText() }),
      ],
      ["yes-no", "choice", "number", "box"],
      "a question with a type",
    ),
    "a list of questions",
  ),
  signal: abortSignal().optional(),
  chat: nonEmptyText().optional(),
  priority: number(-100, 100).optional(),
});

/** @throws {TypeError | RangeError} naming every option that is wrong, never what a question says */
export function resolveDecide(request: DecideRequest): ResolvedDecide {
  parseOptions(DECIDE_SCHEMA, request, "decide");
  const { messages, questions, chat, priority = 0 } = request;
  if (questions.length === 0) {
    throw new TypeError(unexpected("questions", "at least one question", questions));
  }
  for (const [index, question] of questions.entries())
    check(question, `questions[${index}]`, messages);
  return { messages, questions, chat, priority };
}

function check(question: DecideQuestion, name: string, messages: readonly ChatMessage[]): void {
  switch (question.type) {
    case "yes-no": {
      const { yes = "是", no = "否" } = question;
      if (yes === no)
        throw new TypeError(unexpected(`${name}.no`, "another word than for yes", no));
      break;
    }
    case "choice": {
      const { options } = question;
      if (options.length < 2 || new Set(options).size < options.length) {
        throw new TypeError(
          unexpected(`${name}.options`, "two or more different strings", options),
        );
      }
      break;
    }
    case "number": {
      const { min, max } = question;
      if (max <= min || max - min > MOST_NUMBERS) {
        const expected = `above min and at most ${MOST_NUMBERS} above it`;
        throw new RangeError(unexpected(`${name}.max`, expected, max));
      }
      break;
    }
    case "box": {
      const seen = messages.some(
        ({ content }) =>
          typeof content !== "string" && content.some(({ type }) => type === "image"),
      );
      if (!seen) throw new TypeError(unexpected("messages", "a picture for a box", messages));
    }
  }
}
