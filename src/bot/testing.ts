// A NapCat without QQ, to test a bot without sockets. In: events and scripted answers. Out: every call the bot made.
// Published as `napcat-vlm/testing`; knows nothing of test frameworks.

import type { NapCatClient } from "./napcat/napcat-client.ts";
import { isRecord, textOf } from "./napcat/wire.ts";

/** One action the bot called. */
export interface RecordedCall {
  readonly action: string;
  readonly params: Readonly<Record<string, unknown>>;
}

/** What an action answers: its `data`, or a function of the parameters. A function that throws rejects the call. */
export type ScriptedAnswer =
  | object
  | null
  | ((params: Readonly<Record<string, unknown>>) => unknown | Promise<unknown>);

/** The number of the bot in events made by this file. */
export const BOT_ID = 3000000001;

/**
 * A {@link NapCatClient} without a connection: it remembers every call and answers from a script.
 *
 * @example
 * const napcat = new FakeNapCat();
 * const bot = installVlm(napcat, { model: new FakeVisionLanguageModel({ answer: "一只猫。" }) });
 * napcat.receive(groupMessage({ text: "这是什么？", mentionsBot: true, images: [png] }));
 * await bot.idle();
 * expect(napcat.sentTexts).toEqual(["一只猫。"]);
 */
export class FakeNapCat implements NapCatClient {
  /** Every call, in the order they came. */
  readonly calls: RecordedCall[] = [];
  readonly #answers = new Map<string, ScriptedAnswer>();
  readonly #handlers = new Map<string, Set<(context: unknown) => void>>();
  #lastMessageId = 900_000_000;
  #connected = true;

  constructor() {
    const sent = () => ({ message_id: ++this.#lastMessageId });
    this.answer("send_group_msg", sent);
    this.answer("send_private_msg", sent);
    this.answer("get_login_info", { user_id: BOT_ID, nickname: "看图猫" });
  }

  /** Scripts what an action answers from now on; actions without a script are refused. */
  answer(action: string, answer: ScriptedAnswer): this {
    this.#answers.set(action, answer);
    return this;
  }

  /** Scripts a refusal, as node-napcat-ts rejects it: with a plain object. */
  refuse(action: string, message: string, retcode = 1200): this {
    return this.answer(action, () => {
      throw { status: "failed", retcode, data: null, message, wording: message };
    });
  }

  /** Scripts silence: the action is done for all anybody knows, and no answer ever comes. */
  neverAnswer(action: string): this {
    return this.answer(action, () => new Promise(() => {}));
  }

  /** The connection breaks: nobody gets the answer they wait for, and calls fail until {@link connect}. */
  disconnect(): void {
    this.#connected = false;
    this.emit("socket.close", undefined);
  }

  /** The connection is back; a new fake has one. */
  connect(): void {
    this.#connected = true;
  }

  /** Hands an event of NapCat to whoever listens: by its own name, then by those of its parents. */
  receive(event: object): void {
    let name = eventName(event);
    while (name !== "") {
      this.emit(name, event);
      name = name.slice(0, Math.max(0, name.lastIndexOf(".")));
    }
  }

  /** Calls the listeners of one name. */
  emit(name: string, context: unknown): void {
    for (const handler of [...(this.#handlers.get(name) ?? [])]) handler(context);
  }

  /** Messages the bot sent, as they were given to NapCat. */
  get sent(): readonly RecordedCall[] {
    return this.calls.filter(({ action }) => /^send_(group|private)_msg$/u.test(action));
  }

  /** The text of every message the bot sent. */
  get sentTexts(): readonly string[] {
    return this.sent.map(({ params }) => textOfMessage(params.message));
  }

  on(event: string, handler: (context: unknown) => void): this {
    this.#handlers.set(event, (this.#handlers.get(event) ?? new Set()).add(handler));
    return this;
  }

  off(event: string, handler: (context: unknown) => void): this {
    this.#handlers.get(event)?.delete(handler);
    return this;
  }

  /** Listeners that are registered, to see whether a bot cleans up. */
  get listeners(): number {
    return [...this.#handlers.values()].reduce((sum, handlers) => sum + handlers.size, 0);
  }

  async send(action: string, params: object): Promise<unknown> {
    if (!this.#connected) {
      throw { status: "failed", retcode: -1, data: null, message: "api socket is not connected" };
    }
    const call = { action, params: { ...params } };
    this.calls.push(call);
    const answer = this.#answers.get(action);
    if (answer === undefined) {
      throw { status: "failed", retcode: 1404, data: null, message: `不支持的API ${action}` };
    }
    return typeof answer === "function" ? answer(call.params) : answer;
  }
}

/** What a message is made of; what is left out is filled in. */
export interface MessageOptions {
  readonly text?: string;
  /** Bytes of pictures, sent along inside the event. */
  readonly images?: readonly Uint8Array[];
  /** Id of the message that is quoted. */
  readonly quotes?: number | string;
  readonly userId?: number;
  readonly nickname?: string;
  readonly messageId?: number;
  /** Milliseconds since 1970. @default now */
  readonly timeMs?: number;
}

export interface GroupMessageOptions extends MessageOptions {
  /** Put an @ of the bot in front. */
  readonly mentionsBot?: boolean;
  readonly groupId?: number;
  /** Name in the group. */
  readonly card?: string;
}

let lastEventId = 100_000_000;

/** An event: somebody wrote something in a group. */
export function groupMessage(options: GroupMessageOptions = {}): Readonly<Record<string, unknown>> {
  const { groupId = 700000003, card = "", mentionsBot = false } = options;
  const mention = mentionsBot ? [{ type: "at", data: { qq: String(BOT_ID) } }] : [];
  return {
    ...messageFields(options, card),
    message_type: "group",
    sub_type: "normal",
    group_id: groupId,
    group_name: "测试群",
    message: [...quoteSegments(options), ...mention, ...contentSegments(options)],
  };
}

/** An event: somebody wrote to the bot in private. */
export function privateMessage(options: MessageOptions = {}): Readonly<Record<string, unknown>> {
  const fields = messageFields(options, "");
  return {
    ...fields,
    message_type: "private",
    sub_type: "friend",
    target_id: fields.user_id,
    message: [...quoteSegments(options), ...contentSegments(options)],
  };
}

function messageFields(options: MessageOptions, card: string) {
  const { userId = 1000000002, nickname = "小明", timeMs = Date.now() } = options;
  const messageId = options.messageId ?? ++lastEventId;
  return {
    post_type: "message",
    message_format: "array",
    self_id: BOT_ID,
    user_id: userId,
    time: Math.floor(timeMs / 1000),
    message_id: messageId,
    message_seq: messageId,
    real_id: messageId,
    sender: { user_id: userId, nickname, card },
    raw_message: "",
    font: 14,
  };
}

function quoteSegments({ quotes }: MessageOptions): object[] {
  return quotes === undefined ? [] : [{ type: "reply", data: { id: String(quotes) } }];
}

function contentSegments({ text = "", images = [] }: MessageOptions): object[] {
  const pictures = images.map((data) => ({
    type: "image",
    data: { file: `base64://${Buffer.from(data).toString("base64")}`, url: "", sub_type: 0 },
  }));
  return [...(text === "" ? [] : [{ type: "text", data: { text } }]), ...pictures];
}

/** The most specific name node-napcat-ts would use. */
function eventName(event: object): string {
  if (!isRecord(event)) return "";
  const detail = ["message_type", "meta_event_type", "notice_type", "request_type"]
    .map((key) => textOf(event[key]))
    .find((value) => value !== "");
  return [textOf(event.post_type), detail ?? "", textOf(event.sub_type)]
    .filter((part) => part !== "")
    .join(".");
}

function textOfMessage(message: unknown): string {
  if (!Array.isArray(message)) return "";
  return message
    .map((segment) =>
      isRecord(segment) && isRecord(segment.data) ? textOf(segment.data.text) : "",
    )
    .join("");
}
