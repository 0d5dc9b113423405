// The chat core: a turn goes in, an answer comes out, and the chat remembers both.
// It knows nothing of OneBot, sockets or downloads; pictures are bytes by now.

import { TurnCancelledError } from "../errors.ts";
import type { Reply } from "./answer-text.ts";
import { AnswerWriter, type Place } from "./answer-writer.ts";
import { type ChatId, chatKey } from "./chat-id.ts";
import { countImages, type PastTurn, promptParts, shownNames, toMessages } from "./conversation.ts";
import { Conversations } from "./conversations.ts";
import { historyKey, type Isolation } from "./history-key.ts";
import type { Remembered } from "./meant-pictures.ts";
import type { RespondOptions } from "./respond-options.ts";
import {
  parseResponderOptions,
  type ResolvedResponderOptions,
  type ResponderOptions,
} from "./responder-options.ts";
import { nextPictureNumber } from "./shown-pictures.ts";
import type { PendingTurn, Turn, TurnPart } from "./turn.ts";
import { TurnQueue } from "./turns.ts";

/** As whom the bot speaks in a chat, and who shares a past there. */
export interface ChatCharacter {
  readonly isolation: Isolation;
  /** `""` for none. */
  readonly systemPrompt: string;
}

/** A turn that is being answered. */
interface Answering {
  readonly chat: string;
  readonly key: string;
  readonly sender: string;
  forgotten: boolean;
}

/**
 * Answers turns with a model and keeps the history of every chat.
 *
 * @example
 * const responder = new Responder({ model });
 * const reply = await responder.respond({
 *   chat: { kind: "private", id: "10001" },
 *   sender: { id: "10001", name: "张三" },
 *   parts: [{ type: "image", data: bytes }, { type: "text", text: "图里有什么？" }],
 * });
 */
export class Responder {
  #options: ResolvedResponderOptions;
  readonly #queue: TurnQueue;
  readonly #conversations: Conversations;
  #writer: AnswerWriter;
  readonly #characterOf: (chat: ChatId) => ChatCharacter;
  /** What is being answered; a turn whose past was forgotten meanwhile is not remembered. */
  readonly #running = new Set<Answering>();

  /**
   * @param characterOf what is different in some chats; asked at every turn
   * @throws {TypeError | RangeError} naming every option that is wrong.
   */
  constructor(options: ResponderOptions, characterOf?: (chat: ChatId) => ChatCharacter) {
    this.#options = parseResponderOptions(options);
    const { history, phrases, maxQueue, maxQueuePerChat, store } = this.#options;
    this.#queue = new TurnQueue({ maxWaiting: maxQueue, maxWaitingPerChat: maxQueuePerChat });
    this.#conversations = new Conversations(history, phrases.olderImage, store?.histories);
    this.#writer = new AnswerWriter(this.#options, this.#conversations);
    this.#characterOf = characterOf ?? (() => this.#options);
  }

  /**
   * Answers one turn, after the earlier turns of the same chat.
   *
   * @throws {QueueFullError} if too many turns are waiting already.
   * @throws {PromptTooLongError} if this turn alone is longer than the model's context.
   * @throws {unknown} `signal.reason` when aborted, and whatever the model or `deliver` throws.
   */
  respond(turn: Turn, options?: RespondOptions): Promise<Reply>;
  /** As above, for a turn that keeps its place while it loads; `undefined` when there is nothing to answer after all, or `edit` wants none. */
  respond(turn: PendingTurn, options?: RespondOptions): Promise<Reply | undefined>;
  async respond(
    turn: Turn | PendingTurn,
    options: RespondOptions = {},
  ): Promise<Reply | undefined> {
    const { signal } = options;
    signal?.throwIfAborted();
    const place = this.#queue.join(turn.chat);
    let ready: Turn | undefined;
    try {
      const loaded = "load" in turn ? turn.load(signal) : turn;
      [ready] = await Promise.all([loaded, place.reached(signal)]);
      if (ready === undefined) return undefined;
      options.onStart?.();
      return await this.#answer(ready, options);
    } catch (error) {
      if (isTakenBack(error) && ready !== undefined) {
        const { key } = this.#placeOf(ready.chat, ready.sender.id);
        this.#forgetComputed(key, [...ready.parts, ...(ready.quote?.parts ?? [])]);
      }
      throw error;
    } finally {
      place.leave();
    }
  }

  /**
   * Other options from the next turn on; model and store stay, and so does how much memory histories may take.
   *
   * @internal
   */
  reconfigure(options: ResolvedResponderOptions): void {
    const { model, store } = this.#options;
    this.#options = { ...options, model, store };
    const { history, phrases, maxQueue, maxQueuePerChat } = options;
    this.#queue.limits = { maxWaiting: maxQueue, maxWaitingPerChat: maxQueuePerChat };
    this.#conversations.reconfigure(history, phrases.olderImage);
    this.#writer = new AnswerWriter(this.#options, this.#conversations);
  }

  /** Is the model one that can compute ahead? */
  get canWarm(): boolean {
    return this.#options.model.warm !== undefined;
  }

  /**
   * Lets the model compute ahead what it will need for this turn, or for any turn of this chat, if it can.
   * Never rejects: it is a kindness, nothing depends on it.
   */
  async warm(turn: Turn | ChatId, signal?: AbortSignal): Promise<void> {
    const { model, phrases } = this.#options;
    const chat = "chat" in turn ? turn.chat : turn;
    // Only in private is a chat one person.
    const { key, systemPrompt } = this.#placeOf(chat, "chat" in turn ? turn.sender.id : chat.id);
    const past = this.#conversations.past(key);
    const question = "chat" in turn ? promptParts(turn, phrases) : [];
    if (model.warm === undefined || (past.length === 0 && question.length === 0)) return;
    const messages = toMessages(systemPrompt, past, question);
    try {
      await model.warm({
        messages,
        chat: key,
        ...(signal === undefined ? {} : { signal }),
      });
    } catch {
      // What is wrong with the question is said when it is asked.
    }
  }

  /**
   * Forgets what was said, including what is being answered right now: in this chat, whoever asked; or, with a person,
   * only the past this person has in it.
   */
  reset(chat: ChatId, senderId?: string): void {
    if (senderId === undefined) {
      this.#forgetTurns(this.#conversations.forgetChat(chatKey(chat)));
      this.#forgetComputed(chatKey(chat), []);
      this.#disown((turn) => turn.chat === chatKey(chat));
      return;
    }
    const { key } = this.#placeOf(chat, senderId);
    this.#conversations.forget(key);
    this.#forgetComputed(key, []);
    this.#disown((turn) => turn.key === key);
  }

  /** Do all who speak in this chat share one past? */
  isShared(chat: ChatId): boolean {
    return this.#characterOf(chat).isolation === "chat";
  }

  /** Forgets everything that a person asked, in whatever chat, with the answers and the pictures. */
  forgetPerson(senderId: string): void {
    this.#forgetTurns(this.#conversations.forgetPerson(senderId));
    this.#disown((turn) => turn.sender === senderId);
  }

  /** What the model knows of a chat when this person asks: questions answered, and pictures it can still see. */
  remembered(chat: ChatId, senderId: string): Remembered {
    const past = this.#conversations.past(this.#placeOf(chat, senderId).key);
    const images = past.reduce((sum, { parts }) => sum + countImages(parts), 0);
    return { turns: past.length, images };
  }

  /** What was asked in this chat of what the model knows when this person asks, oldest first. */
  turnsHere(chat: ChatId, senderId: string): readonly PastTurn[] {
    const past = this.#conversations.past(this.#placeOf(chat, senderId).key);
    return past.filter((turn) => turn.chat === chatKey(chat));
  }

  /** What this person asked last in this chat, as far as it is remembered, to be asked again. */
  lastQuestion(chat: ChatId, senderId: string): Turn | undefined {
    const found = this.#conversations
      .past(this.#placeOf(chat, senderId).key)
      .findLast((turn) => turn.sender === senderId && turn.chat === chatKey(chat));
    if (found === undefined) return undefined;
    const { parts, names = [], messageIds = [] } = found;
    return { chat, sender: { id: senderId, name: "" }, parts, messageIds, asRead: { names } };
  }

  /** Forgets what was made of one message of this chat: the question, its pictures and the answer. */
  forgetMessage(chat: ChatId, messageId: string): void {
    this.#forgetTurns(this.#conversations.forgetMessage(chatKey(chat), messageId));
  }

  #placeOf(chat: ChatId, senderId: string): Place {
    const { isolation, systemPrompt } = this.#characterOf(chat);
    const key = historyKey(chat, senderId, isolation);
    if (isolation !== "person") return { key, systemPrompt };
    // Whoever has one past everywhere meets the same character everywhere.
    return { key, ...this.#characterOf({ kind: "private", id: senderId }) };
  }

  #disown(isMeant: (turn: Answering) => boolean): void {
    for (const turn of this.#running) {
      if (isMeant(turn)) turn.forgotten = true;
    }
  }

  #forgetTurns(forgotten: ReadonlyMap<string, readonly PastTurn[]>): void {
    for (const [key, turns] of forgotten) {
      this.#forgetComputed(
        key,
        turns.flatMap(({ parts }) => parts),
      );
    }
  }

  /** What the model keeps of a past and of pictures, so that it need not compute them again. Not awaited: nobody waits. */
  #forgetComputed(key: string, parts: readonly TurnPart[]): void {
    const images = parts.flatMap((part) => (part.type === "image" ? [part.data] : []));
    this.#options.model.forget?.({ chat: key, images }).catch(() => {});
  }

  async #answer(turn: Turn, options: RespondOptions): Promise<Reply | undefined> {
    const place = this.#placeOf(turn.chat, turn.sender.id);
    const { key } = place;
    const chat = chatKey(turn.chat);
    const running: Answering = { chat, key, sender: turn.sender.id, forgotten: false };
    this.#running.add(running);
    let question = promptParts(turn, this.#options.phrases);
    try {
      const answer = await this.#writer.write(turn, place, options);
      question = answer.question;
      const reply =
        options.edit === undefined ? answer.reply : await options.edit(answer.reply, turn);
      if (reply === undefined) return undefined;
      if (options.said === undefined) this.#remember(running, turn, question, reply.text);
      await options.deliver?.(reply);
      return reply;
    } finally {
      const said = (await options.said?.()) ?? "";
      if (!isTakenBack(options.signal?.reason)) this.#remember(running, turn, question, said);
      this.#running.delete(running);
    }
  }

  #remember(running: Answering, turn: Turn, parts: readonly TurnPart[], text: string): void {
    const { key, chat, sender, forgotten } = running;
    if (forgotten || text.trim() === "") return;
    this.#conversations.remember(key, {
      parts,
      answer: text.trim(),
      names: shownNames(turn, this.#options.phrases),
      firstPicture: nextPictureNumber(this.#conversations.past(key)),
      chat,
      sender,
      ...(turn.messageIds === undefined ? {} : { messageIds: turn.messageIds }),
    });
  }
}

function isTakenBack(reason: unknown): boolean {
  return reason instanceof TurnCancelledError && reason.reason === "recalled";
}
