// A conversation in the form a model wants: a turn, or the past and a question in; chat messages out.
// Nothing is kept here. It knows nothing of OneBot and never calls the model.

import type { ChatMessage, ContentPart } from "../../vlm/index.ts";
import type { Phrases } from "../reply/phrases.ts";
import { cleanName } from "./speaker-name.ts";
import type { Quote, Speaker, Turn, TurnPart } from "./turn.ts";

/** A question as the model sees it, and its answer. */
export interface PastTurn {
  readonly parts: readonly TurnPart[];
  readonly answer: string;
  /** Messages of the chat the question was made of. */
  readonly messageIds?: readonly string[];
  /** Names the model was shown in it; models imitate them. */
  readonly names?: readonly string[];
  /** Number of its first picture in the chat, counted from 1 over all that were ever there. */
  readonly firstPicture?: number;
  /** Chat it was asked in, by `chatKey`. */
  readonly chat?: string;
  /** Number of the person who asked. */
  readonly sender?: string;
}

/** The parts of a turn in prompt order: the quote, then the speaker's name (in groups), then what was said. */
export function promptParts(turn: Turn, phrases: Phrases): readonly TurnPart[] {
  if (turn.asRead !== undefined) return turn.parts;
  const parts: TurnPart[] = [];
  if (turn.quote !== undefined) {
    const name = quotedName(turn.quote, phrases);
    parts.push({ type: "text", text: phrases.quoteStart(name) });
    parts.push(...turn.quote.parts);
    parts.push({ type: "text", text: phrases.quoteEnd });
  }
  if (turn.chat.kind === "group") {
    const name = speakerName(turn.sender, phrases);
    parts.push({ type: "text", text: phrases.speaker(name) });
  }
  parts.push(...turn.parts);
  return parts;
}

/** The names that stand in front of texts in the parts of a turn. */
export function shownNames(turn: Turn, phrases: Phrases): readonly string[] {
  if (turn.asRead !== undefined) return turn.asRead.names;
  const names: string[] = [];
  if (turn.quote !== undefined) {
    names.push(quotedName(turn.quote, phrases));
  }
  if (turn.chat.kind === "group") names.push(speakerName(turn.sender, phrases));
  return names;
}

function quotedName(quote: Quote, phrases: Phrases): string {
  return cleanName(quote.senderName, phrases.namelessSpeaker(""));
}

function speakerName(sender: Speaker, phrases: Phrases): string {
  return cleanName(sender.name, phrases.namelessSpeaker(sender.id));
}

export function countImages(parts: readonly TurnPart[]): number {
  return parts.filter((part) => part.type === "image").length;
}

/**
 * Puts a note in place of the picture with this index, counted from 0 among those still there.
 * The note is given the number people would use: from 1, with pictures that are already notes.
 */
export function replaceImage(
  parts: readonly TurnPart[],
  index: number,
  note: (number: number) => string,
): readonly TurnPart[] {
  let images = 0;
  let number = 0;
  return parts.map((part) => {
    const isImage = part.type === "image";
    if (isImage || (part.type === "note" && part.replaces === "image")) number++;
    if (!isImage || images++ !== index) return part;
    return { type: "note", text: note(number), replaces: "image" };
  });
}

/** System prompt, past turns and the question, as a model wants them. */
export function toMessages(
  systemPrompt: string,
  past: readonly PastTurn[],
  question: readonly TurnPart[],
): ChatMessage[] {
  const messages: ChatMessage[] = [];
  if (systemPrompt !== "") messages.push({ role: "system", content: systemPrompt });
  for (const turn of past) {
    messages.push({ role: "user", content: toContent(turn.parts) });
    messages.push({ role: "assistant", content: turn.answer });
  }
  messages.push({ role: "user", content: toContent(question) });
  return messages;
}

/** Text and notes that follow one another become one text. */
function toContent(parts: readonly TurnPart[]): string | readonly ContentPart[] {
  const content: ContentPart[] = [];
  for (const part of parts) {
    if (part.type === "image") {
      content.push({ type: "image", data: part.data });
      continue;
    }
    const last = content.at(-1);
    if (last?.type === "text") {
      content[content.length - 1] = { type: "text", text: last.text + part.text };
    } else {
      content.push({ type: "text", text: part.text });
    }
  }
  const [first] = content;
  return content.length === 1 && first?.type === "text" ? first.text : content;
}
