// `/历史 5`: what the bot remembers of this chat when this person asks, newest last. Whoever has one past for all chats is
// shown what was asked here: a group must not read what somebody asked in private.

import type { TurnPart } from "../chat/turn.ts";
import type { Command } from "./command.ts";

const TURNS = 5;
const MAX_TURNS = 20;
/** Of a question, and of an answer. */
const MAX_CHARACTERS = 80;

export const HISTORY: Command = {
  names: ["历史", "history"],
  run: ({ message, argument, responder, phrases }) => {
    const wanted = /^\d+$/.test(argument) ? Number(argument) : TURNS;
    const turns = responder
      .turnsHere(message.chat, message.sender.id)
      .slice(-Math.min(Math.max(wanted, 1), MAX_TURNS))
      .map(({ parts, answer }) => ({
        question: cut(inOneLine(parts, phrases.pictureHere)),
        answer: cut(answer),
      }));
    return turns.length === 0 ? phrases.nothingRemembered : phrases.historyIs(turns);
  },
};

function inOneLine(parts: readonly TurnPart[], picture: string): string {
  return parts.map((part) => (part.type === "text" ? part.text : picture)).join("");
}

function cut(text: string): string {
  const characters = [...text.replace(/\s+/gu, " ").trim()];
  if (characters.length <= MAX_CHARACTERS) return characters.join("");
  return `${characters.slice(0, MAX_CHARACTERS).join("")}…`;
}
