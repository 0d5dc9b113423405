// The chat core: a turn goes in, an answer comes out, and the chat remembers both.
// It knows nothing of OneBot, sockets or downloads; pictures are bytes by now.

import { eachUntilAborted } from "../../abort.ts";
import {
  type ChatMessage,
  type FinishPart,
  type ImageDecodeError,
  isVlmError,
} from "../../vlm/index.ts";
import { TurnCancelledError } from "../errors.ts";
import type { Rank } from "../rank.ts";
import { streamWithTools } from "../tools/tool-loop.ts";
import { Toolbox, type ToolCaller, type ToolEvent } from "../tools/toolbox.ts";
import type { SeenNames } from "./answer-start.ts";
import { AnswerText, type Reply, type ReplyPart } from "./answer-text.ts";
import { type ChatId, chatKey } from "./chat-id.ts";
import {
  countImages,
  type PastTurn,
  promptParts,
  replaceImage,
  shownNames,
  toMessages,
} from "./conversation.ts";
import { Conversations } from "./conversations.ts";
import { historyKey, type Isolation } from "./history-key.ts";
import type { Remembered } from "./meant-pictures.ts";
import {
  parseResponderOptions,
  type ResolvedResponderOptions,
  type ResponderOptions,
} from "./responder-options.ts";
import { nextPictureNumber, showPictures, textOf } from "./shown-pictures.ts";
import type { PendingTurn, Turn, TurnPart } from "./turn.ts";
import { TurnQueue } from "./turns.ts";

export interface RespondOptions {
  /** Aborting rejects with `signal.reason`, waiting or running; nothing is remembered then. */
  readonly signal?: AbortSignal;
  /** Turns of higher priority go to the model first, from -100 to 100. @default 0 */
  readonly priority?: number;
  /** Called when the turn is the next of its chat and goes to the model. */
  readonly onStart?: () => void;
  /** Called with every piece of the answer as it is written. */
  readonly onPart?: (part: ReplyPart) => void;
  /**
   * What the bot itself is called in this chat. Asked only when an answer begins with a word and a colon: models
   * imitate `name：`, and that is taken off like the speakers' names.
   */
  readonly ownNames?: () => Promise<readonly string[]>;
  /** Of whoever asks: some tools are for some people only. @default "everybody" */
  readonly rank?: Rank;
  /** Told what the chat should hear while a tool is at work. */
  readonly onToolNote?: (note: string) => void;
  /** Told how each call of a tool ended. */
  readonly onTool?: (event: ToolEvent) => void;
  /** Another answer in place of the one that was written, or none at all; what it returns is remembered. */
  readonly edit?: (reply: Reply, turn: Turn) => Promise<Reply | undefined>;
  /**
   * What was sent of the answer in the end, where it is sent while it is written: this is what is remembered of it, also
   * when it is broken off, unless the question was taken back.
   */
  readonly said?: () => Promise<string>;
  /** Sends the answer while the turn still has its place: the chat's next turn starts after it. */
  readonly deliver?: (reply: Reply) => Promise<void>;
}

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
  #toolbox: Toolbox;
  readonly #conversations: Conversations;
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
    this.#toolbox = new Toolbox(this.#options.tools, this.#options.toolLimits);
    this.#queue = new TurnQueue({ maxWaiting: maxQueue, maxWaitingPerChat: maxQueuePerChat });
    this.#conversations = new Conversations(history, phrases.olderImage, store?.histories);
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
    this.#toolbox = new Toolbox(options.tools, options.toolLimits);
    this.#queue.limits = { maxWaiting: maxQueue, maxWaitingPerChat: maxQueuePerChat };
    this.#conversations.reconfigure(history, phrases.olderImage);
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

  /** Where the past of a question is, and as whom it is answered. */
  #placeOf(
    chat: ChatId,
    senderId: string,
  ): { readonly key: string; readonly systemPrompt: string } {
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
    const { key } = this.#placeOf(turn.chat, turn.sender.id);
    const chat = chatKey(turn.chat);
    const running: Answering = { chat, key, sender: turn.sender.id, forgotten: false };
    this.#running.add(running);
    let question = promptParts(turn, this.#options.phrases);
    try {
      const answer = await this.#answerWithoutBadImages(turn, options);
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

  /** Asks the model, and asks again without a picture whenever one turns out not to be a picture. */
  async #answerWithoutBadImages(turn: Turn, options: RespondOptions) {
    const { phrases } = this.#options;
    const { key, systemPrompt } = this.#placeOf(turn.chat, turn.sender.id);
    const { chat, sender } = turn;
    const caller = { chat, sender, rank: options.rank ?? "everybody" } as const;
    let question = promptParts(turn, phrases);
    for (;;) {
      const past = this.#conversations.past(key);
      const speakers = [...past.flatMap(({ names = [] }) => names), ...shownNames(turn, phrases)];
      const shown = showPictures(past, question, phrases, textOf(turn.parts));
      try {
        const messages = toMessages(systemPrompt, shown.past, shown.question);
        return { question, reply: await this.#generate(key, messages, speakers, caller, options) };
      } catch (error) {
        const bad = badImage(error, shown.origins.length);
        if (bad === undefined) throw error;
        const note = (number: number) => phrases.imageMissing(number, this.#reason(bad));
        const { from, index } = shown.origins[bad.imageIndex]!;
        if (from === "past") this.#conversations.replaceImage(key, index, note);
        else question = replaceImage(question, index, note);
      }
    }
  }

  async #generate(
    key: string,
    messages: readonly ChatMessage[],
    speakers: SeenNames["speakers"],
    caller: ToolCaller,
    { signal, onPart, ownNames, priority, onToolNote, onTool }: RespondOptions,
  ): Promise<Reply> {
    const { model, maxTokens, maxReasoningTokens, sampling } = this.#options;
    const request = {
      ...sampling,
      ...(maxTokens === undefined ? {} : { maxTokens }),
      ...(maxReasoningTokens === undefined ? {} : { maxReasoningTokens }),
      ...(signal === undefined ? {} : { signal }),
      ...(priority === undefined ? {} : { priority }),
      chat: key,
      messages,
    };
    const stream = streamWithTools(request, {
      model,
      toolbox: this.#toolbox,
      caller,
      onNote: onToolNote,
      onTool,
    });
    const answer = new AnswerText({ speakers, own: ownNames });
    // A model that ignores its signal must not block the chat for ever.
    for await (const part of eachUntilAborted(stream, signal)) {
      if (part.type === "finish") return finish(answer, onPart, part);
      // A model that notices by itself ends here; any other one is left.
      if (answer.repeats) return finish(answer, onPart);
      // What was called for was done, or could not be offered: nothing of it is shown.
      if (part.type === "tool-call") continue;
      for (const shown of await answer.push(part)) onPart?.(shown);
    }
    throw new Error("The stream of the model ended without its finish part.");
  }

  #reason({ code }: ImageDecodeError): string {
    const { unsupported, corrupt, "too-large": tooLarge } = this.#options.phrases.imageReasons;
    if (code === "image-unsupported") return unsupported;
    return code === "image-too-large" ? tooLarge : corrupt;
  }
}

async function finish(
  answer: AnswerText,
  onPart: RespondOptions["onPart"],
  part?: FinishPart,
): Promise<Reply> {
  const { shown, reply } = await answer.finish(part);
  for (const piece of shown) onPart?.(piece);
  return reply;
}

function isTakenBack(reason: unknown): boolean {
  return reason instanceof TurnCancelledError && reason.reason === "recalled";
}

/** The error, if it says which of the `images` pictures of the request could not be decoded. */
function badImage(error: unknown, images: number) {
  if (!isVlmError(error) || error.name !== "ImageDecodeError") return undefined;
  const decodeError = error as ImageDecodeError;
  const { imageIndex = -1 } = decodeError;
  // An index that names no picture would repair nothing, and the question would be asked for ever.
  if (!Number.isInteger(imageIndex) || imageIndex < 0 || imageIndex >= images) return undefined;
  return decodeError as ImageDecodeError & { readonly imageIndex: number };
}
