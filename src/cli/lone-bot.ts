// The bot without QQ: the same chat core behind the debug page alone. In: a model and options. Out: what the page serves.

import { type BotChanges, needsRestart } from "../bot/bot-changes.ts";
import { chatOptions, SettingsOfChats } from "../bot/chat/chat-settings.ts";
import { Responder } from "../bot/chat/responder.ts";
import {
  type InstallVlmOptions,
  parseInstallOptions,
  type ResolvedInstallOptions,
} from "../bot/options.ts";
import { AskModel } from "../bot/triggers/ask-model.ts";
import { type ShouldReply, shouldReplyBy } from "../bot/triggers/should-reply.ts";

/** Answers on the debug page. */
export class LoneBot {
  readonly responder: Responder;
  readonly shouldReply: ShouldReply;
  readonly #given: Pick<InstallVlmOptions, "model" | "store" | "logger">;
  readonly #chats: SettingsOfChats;
  #options: ResolvedInstallOptions;

  constructor(parts: Pick<InstallVlmOptions, "model" | "store" | "logger">, options: BotChanges) {
    this.#given = parts;
    const resolved = parseInstallOptions({ ...options, ...parts });
    this.#options = resolved;
    this.#chats = new SettingsOfChats(...chatOptions(resolved));
    this.responder = new Responder(resolved.responder, (chat) => this.#chats.of(chat));
    const { model, phrases } = resolved.responder;
    this.shouldReply = shouldReplyBy(this.#chats, new AskModel(model, phrases));
  }

  /** As that of a bot on QQ. @throws {TypeError | RangeError} naming every option that is wrong. */
  reconfigure(options: BotChanges): readonly string[] {
    const resolved = parseInstallOptions({ ...options, ...this.#given });
    this.#chats.replace(...chatOptions(resolved));
    this.responder.reconfigure(resolved.responder);
    const late = needsRestart(this.#options, resolved);
    this.#options = resolved;
    return late;
  }
}
