// Questions that wait for their picture: the bot asked for it, and the person's next message that shows something
// completes the question. In: questions nobody could answer, and what comes after them. Out: the question again.
// Only what was asked is kept, for as long as a picture sent before would count. It knows nothing of what is asked.

import { LRUCache } from "lru-cache";
import type { IncomingMessage } from "../napcat/events.ts";
import type { TriggerName } from "../triggers/triggers.ts";
import { type ChatId, chatKey } from "./chat-id.ts";
import { showsPictures } from "./recent-pictures.ts";

/** A question whose picture is missing. */
export interface WaitingQuestion {
  readonly pieces: readonly [IncomingMessage, ...IncomingMessage[]];
  readonly trigger: TriggerName;
}

const MAX_PEOPLE = 1000;

/** Remembers who was asked for a picture. */
export class AwaitedPictures {
  readonly #waitMs: () => number;
  readonly #now: () => number;
  readonly #questions = new LRUCache<string, WaitingQuestion & { readonly untilMs: number }>({
    max: MAX_PEOPLE,
  });

  /**
   * @param waitMs how long a question waits; 0: none does
   * @param now milliseconds of any clock that does not jump
   */
  constructor(waitMs: () => number, now: () => number = () => performance.now()) {
    this.#waitMs = waitMs;
    this.#now = now;
  }

  /** The bot has asked for the picture of this question. */
  expect({ pieces, trigger }: WaitingQuestion): void {
    // A poke is no question that a picture could complete.
    if (pieces[0].poke === true) return;
    const untilMs = this.#now() + this.#waitMs();
    this.#questions.set(keyOf(pieces[0]), { pieces, trigger, untilMs });
  }

  /** The question this message completes, once. */
  take(message: IncomingMessage): WaitingQuestion | undefined {
    if (this.#questions.size === 0 || !showsPictures(message)) return undefined;
    const question = this.#questions.get(keyOf(message));
    this.#questions.delete(keyOf(message));
    return question !== undefined && this.#now() < question.untilMs ? question : undefined;
  }

  /** Whoever asks something else no longer waits. */
  forget(message: IncomingMessage): void {
    this.#questions.delete(keyOf(message));
  }

  /** A message was taken back: a question is none without one of its pieces. */
  forgetMessage(chat: ChatId, messageId: string): void {
    this.#drop(
      (key, { pieces }) =>
        key.startsWith(`${chatKey(chat)}/`) &&
        pieces.some((piece) => piece.messageId === messageId),
    );
  }

  /** @param senderId only those of this person */
  reset(chat: ChatId, senderId?: string): void {
    const start = `${chatKey(chat)}/`;
    this.#drop((key) =>
      senderId === undefined ? key.startsWith(start) : key === start + senderId,
    );
  }

  forgetPerson(senderId: string): void {
    this.#drop((key) => key.endsWith(`/${senderId}`));
  }

  #drop(isMeant: (key: string, question: WaitingQuestion) => boolean): void {
    for (const [key, question] of [...this.#questions.entries()]) {
      if (isMeant(key, question)) this.#questions.delete(key);
    }
  }
}

function keyOf({ chat, sender }: IncomingMessage): string {
  return `${chatKey(chat)}/${sender.id}`;
}
