// What a question becomes in front of the model: its words, and the answers whose scores are compared. In: a question.
// Out: messages, and texts with what each means. It knows no tokens and no scores.

import type { ChatMessage, DecideQuestion } from "../vision-language-model.ts";

/** An answer the model could give. */
export interface PossibleAnswers {
  readonly texts: readonly string[];
  /** Texts of more tokens are not for that less likely: what counts is the mean over the tokens. */
  readonly lengthNormalised: boolean;
}

/** The conversation with the question at its end. */
export function askedMessages(
  messages: readonly ChatMessage[],
  question: DecideQuestion,
): readonly ChatMessage[] {
  const text = questionText(question);
  const last = messages.at(-1);
  if (last?.role !== "user") return [...messages, { role: "user", content: text }];
  const content =
    typeof last.content === "string"
      ? `${last.content}\n${text}`
      : [...last.content, { type: "text", text } as const];
  return [...messages.slice(0, -1), { role: "user", content }];
}

/** Undefined for what is not chosen from a list. */
export function possibleAnswers(question: DecideQuestion): PossibleAnswers | undefined {
  switch (question.type) {
    case "yes-no":
      return { texts: yesAndNo(question), lengthNormalised: true };
    case "choice":
      return { texts: question.options, lengthNormalised: true };
    case "number": {
      const { min, max } = question;
      const texts = Array.from({ length: max - min + 1 }, (_, index) => String(min + index));
      return { texts, lengthNormalised: false };
    }
    case "box":
      return undefined;
  }
}

/** What an answer with a box begins with, as the model was taught, and the form of what follows. */
export const BOX_HEAD = '{"bbox_2d": [';
/** A coordinate is a share of the picture's side in thousandths. */
export const BOX_SCALE = 1000;
const COORDINATE = "(?:0|[1-9]\\d{0,2}|1000)";
export const BOX_PATTERN = `${COORDINATE}, ${COORDINATE}, ${COORDINATE}, ${COORDINATE}\\]`;

function questionText(question: DecideQuestion): string {
  switch (question.type) {
    case "yes-no":
      return `${question.question} (${yesAndNo(question).join(" / ")})`;
    case "choice":
      return `${question.question} (${question.options.join(" / ")})`;
    case "number":
      return `${question.question} (${question.min}–${question.max})`;
    case "box":
      return `Locate ${question.question}, report the bbox coordinates in JSON format.`;
  }
}

function yesAndNo({ yes = "是", no = "否" }: Extract<DecideQuestion, { type: "yes-no" }>) {
  return [yes, no] as const;
}
