// What people asked last, so that it can be asked again or taken back. In: questions. Out: the newest of a person in a chat.
// Bounded in questions and in bytes of pictures; what is recalled is forgotten. It knows nothing of answers.

import { LRUCache } from "lru-cache";
import { type ChatId, chatKey } from "../chat/chat-id.ts";
import type { Turn } from "../chat/turn.ts";
import type { IncomingMessage } from "../napcat/events.ts";
import type { TriggerName } from "../triggers/triggers.ts";

/** One question. */
export interface AskedQuestion {
  /** The messages it was made of. */
  readonly pieces: readonly [IncomingMessage, ...IncomingMessage[]];
  readonly trigger: TriggerName;
  /** What the model was asked. Left out where a picture was missing: fetching it again may help. */
  readonly turn?: Turn;
  /** All messages the turn holds something of, quoted ones and pictures of before included. */
  readonly messageIds: readonly string[];
}

/** The question with what was made of it, unless a picture of that was missing. */
export function askedWith(turn: Turn, question: AskedQuestion): AskedQuestion {
  const { messageIds = question.messageIds } = turn;
  const parts = [...turn.parts, ...(turn.quote?.parts ?? [])];
  const lacksPicture = parts.some((part) => part.type === "note" && part.replaces === "image");
  return { ...question, messageIds, ...(lacksPicture ? {} : { turn }) };
}

const MAX_PEOPLE = 500;
const MAX_QUESTIONS = 12;
const MAX_BYTES = 64 * 1024 * 1024;

/** The last questions of everybody. */
export class AskedQuestions {
  readonly #asked = new LRUCache<string, readonly AskedQuestion[]>({
    max: MAX_PEOPLE,
    maxSize: MAX_BYTES,
    sizeCalculation: (questions) => questions.reduce((sum, { turn }) => sum + bytesOf(turn), 1),
  });

  /** The newest question of its person in its chat; asked again, it takes the place of the first time. */
  note(question: AskedQuestion): void {
    const key = keyOf(question.pieces[0]);
    const [first] = question.pieces;
    const before = (this.#asked.get(key) ?? []).filter(
      ({ pieces }) => pieces[0].messageId !== first.messageId,
    );
    // Only the newest can be asked again.
    const lean = before.map(({ turn: _, ...rest }) => rest);
    this.#asked.set(key, [...lean, question].slice(-MAX_QUESTIONS));
  }

  /** What this person asked last in this chat. */
  last(message: IncomingMessage): AskedQuestion | undefined {
    return this.#asked.get(keyOf(message))?.at(-1);
  }

  /** Takes it out. */
  takeLast(message: IncomingMessage): AskedQuestion | undefined {
    const questions = this.#asked.get(keyOf(message)) ?? [];
    this.#keep(keyOf(message), questions.slice(0, -1));
    return questions.at(-1);
  }

  forgetMessage(chat: ChatId, messageId: string): void {
    for (const [key, questions] of this.#ofChat(chat)) {
      this.#keep(
        key,
        questions.filter(({ messageIds }) => !messageIds.includes(messageId)),
      );
    }
  }

  forgetPerson(senderId: string): void {
    for (const key of [...this.#asked.keys()]) {
      if (key.endsWith(`/${senderId}`)) this.#asked.delete(key);
    }
  }

  /** All there are of this person in this chat. */
  all(message: IncomingMessage): readonly AskedQuestion[] {
    return this.#asked.get(keyOf(message)) ?? [];
  }

  reset(chat: ChatId): void {
    for (const [key] of this.#ofChat(chat)) this.#asked.delete(key);
  }

  #ofChat(chat: ChatId): [string, readonly AskedQuestion[]][] {
    const prefix = `${chatKey(chat)}/`;
    return [...this.#asked.entries()].filter(([key]) => key.startsWith(prefix));
  }

  #keep(key: string, questions: readonly AskedQuestion[]): void {
    if (questions.length === 0) this.#asked.delete(key);
    else this.#asked.set(key, questions);
  }
}

function keyOf({ chat, sender }: IncomingMessage): string {
  return `${chatKey(chat)}/${sender.id}`;
}

function bytesOf(turn: Turn | undefined): number {
  const parts = [...(turn?.parts ?? []), ...(turn?.quote?.parts ?? [])];
  return parts.reduce((sum, part) => sum + (part.type === "image" ? part.data.byteLength : 0), 0);
}
