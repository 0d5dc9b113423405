// What a question becomes in front of the model: its words, and the answers whose scores are compared. In: a question.
// Out: messages, and texts with what each means. It knows no tokens and no scores.

import type { ListedQuestion } from "../decision.ts";
import type { ChatMessage, DecideQuestion } from "../vision-language-model.ts";

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

/** The answers the model could give. */
export function possibleAnswers(question: ListedQuestion): readonly string[] {
  switch (question.type) {
    case "yes-no":
      return yesAndNo(question);
    case "choice":
      return question.options;
    case "number": {
      const { min, max } = question;
      return Array.from({ length: max - min + 1 }, (_, index) => String(min + index));
    }
  }
}

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
