// The bot: events come in, answers go out. It puts the parts of a bot together, listens, and closes in bounded time.
// What happens to a message is in `pipeline/`. It knows nothing of how the connection is kept alive, or of what the model is.

import { settledWithin, sharedController } from "../abort.ts";
import type { VisionLanguageModel } from "../vlm/index.ts";
import { type BotChanges, changedOptions, needsRestart } from "./bot-changes.ts";
import { AwaitedPictures } from "./chat/awaited-pictures.ts";
import { chatOptions, SettingsOfChats } from "./chat/chat-settings.ts";
import { ChatSwitches } from "./chat/chat-switches.ts";
import { RecentPictures } from "./chat/recent-pictures.ts";
import { Responder } from "./chat/responder.ts";
import { AskedQuestions } from "./commands/asked-questions.ts";
import { commandsOf } from "./commands/command-options.ts";
import { Commands } from "./commands/commands.ts";
import { TurnCancelledError } from "./errors.ts";
import type { Gates } from "./gates/gates.ts";
import { Downloader } from "./images/download.ts";
import { LiveOptions } from "./live-options.ts";
import { BotMetrics } from "./metrics/bot-metrics.ts";
import { NapCatCalls } from "./napcat/calls.ts";
import { expectClient, type NapCatClient } from "./napcat/napcat-client.ts";
import {
  type InstallVlmOptions,
  parseInstallOptions,
  type ResolvedInstallOptions,
} from "./options.ts";
import { assemble } from "./pipeline/assembly.ts";
import { Cancellation } from "./pipeline/cancellation.ts";
import type { Pipeline } from "./pipeline/pipeline.ts";
import { RunningTurns } from "./pipeline/running-turns.ts";
import { connectionState, type Watched, watch } from "./status/bot-status.ts";
import { type Health, healthOf } from "./status/health.ts";
import { RecentErrors } from "./status/recent-errors.ts";
import { AskModel } from "./triggers/ask-model.ts";
import { type ShouldReply, shouldReplyBy } from "./triggers/should-reply.ts";

/** A model that ignores its signal does not hold up `close()` for longer than this. */
const CLOSE_TIMEOUT_MS = 5_000;

/** A bot that is listening. */
export interface InstalledVlm {
  /** The chat core with the histories; share it with other ways to talk to the same bot. */
  readonly responder: Responder;
  /** Would the bot answer this turn if nobody addressed it? What the triggers of its chat say. */
  readonly shouldReply: ShouldReply;
  /** Is everything well, and if not, why? */
  health(): Health;
  /** A live look at the bot, and its numbers as a snapshot or for Prometheus. */
  readonly watched: Watched;
  /** What people can type; `register` adds commands of your own. */
  readonly commands: Pick<Commands, "register">;
  /**
   * Puts other options in place of all that were given before, as if the bot had been installed with them: from the next
   * message on, while turns that run go on. What people changed by commands stays.
   *
   * @returns names of options that only hold after a restart
   * @throws {TypeError | RangeError} naming every option that is wrong; then nothing has changed.
   */
  reconfigure(changes: BotChanges): readonly string[];
  /** Resolves when no message is being worked on. */
  idle(): Promise<void>;
  /**
   * Stops listening, ends what is running and waits for it. Calling it again is fine.
   * Model and connection stay as they are: they belong to the caller.
   */
  close(): Promise<void>;
  [Symbol.asyncDispose](): Promise<void>;
}

/**
 * Makes a NapCat connection answer with a vision-language model.
 *
 * @param napcat a `NCWebsocket`, what `connectNapCat` returns, or anything that behaves like one
 * @throws {TypeError | RangeError} naming every option that is wrong.
 *
 * @example
 * const model = await loadQwen3Vl({ model: "models/Qwen3-VL-2B-Instruct" });
 * const napcat = connectNapCat({ url: "ws://127.0.0.1:3001", token: "..." });
 * const bot = installVlm(napcat, { model });
 */
export function installVlm(napcat: NapCatClient, options: InstallVlmOptions): InstalledVlm {
  expectClient(napcat);
  return new VlmBot(napcat, parseInstallOptions(options));
}

class VlmBot implements InstalledVlm {
  readonly responder: Responder;
  readonly shouldReply: ShouldReply;
  readonly watched: Watched;
  readonly commands: Commands;
  readonly #napcat: NapCatClient;
  readonly #options: LiveOptions<ResolvedInstallOptions>;
  readonly #chatSettings: SettingsOfChats;
  readonly #signal: AbortSignal | undefined;
  readonly #switches: ChatSwitches;
  readonly #calls: NapCatCalls;
  readonly #downloader: Downloader;
  readonly #turns = new RunningTurns();
  readonly #metrics: BotMetrics;
  readonly #errors = new RecentErrors();
  readonly #model: VisionLanguageModel;
  readonly #recent: RecentPictures;
  readonly #awaited: AwaitedPictures;
  readonly #questions = new AskedQuestions();
  readonly #cancellation: Cancellation;
  readonly #pipeline: Pipeline;
  readonly #gates: Gates;
  readonly #closing = sharedController();
  readonly #running = new Set<Promise<void>>();
  #closed: Promise<void> | undefined;

  constructor(napcat: NapCatClient, options: ResolvedInstallOptions) {
    this.#options = new LiveOptions(options);
    const settings = this.#options.view;
    this.#napcat = napcat;
    this.#signal = settings.signal;
    const chatSettings = new SettingsOfChats(...chatOptions(options));
    this.#chatSettings = chatSettings;
    this.#switches = new ChatSwitches(settings.responder.store?.switches);
    this.responder = new Responder(options.responder, (chat) => {
      const character = chatSettings.of(chat);
      const { persona = character.systemPrompt } = this.#switches.of(chat);
      return { isolation: character.isolation, systemPrompt: persona };
    });
    this.#calls = new NapCatCalls(napcat, { patient: true });
    this.#downloader = new Downloader(settings.images);
    this.#recent = new RecentPictures(settings.images, (chat, messageId) =>
      this.#turns.inChat(chat).some((turn) => turn.involves(messageId)),
    );
    this.#metrics = new BotMetrics({
      runningTurns: () => this.#turns.list().length,
      begunTurns: () => this.#turns.begun,
      connected: () => (connectionState(napcat) ?? "ready") === "ready",
    });
    this.#model = settings.responder.model;
    this.watched = watch({
      napcat,
      model: this.#model,
      turns: this.#turns,
      metrics: this.#metrics,
      errors: this.#errors,
      health: () => this.health(),
      settings,
    });
    this.#turns.onEnd((turn, outcome) => {
      this.#metrics.turnEnded(turn.trigger, outcome, Date.now() - turn.startedAtMs);
      if (outcome !== "answered") return;
      for (const messageId of turn.messageIds) this.#recent.forgetMessage(turn.chat, messageId);
    });
    this.#awaited = new AwaitedPictures(() => settings.images.recentOwnMs);
    const memories = [this.responder, this.#recent, this.#awaited, this.#questions];
    this.#cancellation = new Cancellation(this.#turns, memories);
    this.commands = new Commands(...commandsOf(options.commands));
    const askModel = new AskModel(settings.responder.model, settings.responder.phrases);
    this.shouldReply = shouldReplyBy(chatSettings, askModel);
    const { pipeline, gates } = assemble({
      settings,
      chatSettings,
      askModel,
      calls: this.#calls,
      downloader: this.#downloader,
      responder: this.responder,
      commands: this.commands,
      switches: this.#switches,
      turns: this.#turns,
      cancellation: this.#cancellation,
      recent: this.#recent,
      awaited: this.#awaited,
      questions: this.#questions,
      metrics: this.#metrics,
      errors: this.#errors,
      closing: this.#closing.signal,
      track: (work) => this.#track(work),
    });
    this.#pipeline = pipeline;
    this.#gates = gates;
    napcat.on("message", this.#onMessage);
    napcat.on("notice", this.#onNotice);
    napcat.on("meta_event", this.#onNotice);
    this.#signal?.addEventListener("abort", this.#onAbort, { once: true });
    if (this.#signal?.aborted) this.#onAbort();
  }

  readonly #onMessage = (wire: unknown): void => this.#track(this.#pipeline.onMessage(wire));

  readonly #onNotice = (wire: unknown): void => this.#track(this.#pipeline.onNotice(wire));

  #track(work: Promise<void>): void {
    const run = work
      // The boundary in the pipeline has dealt with everything; this only keeps a mistake in it from ending the process.
      .catch(() => {})
      .finally(() => this.#running.delete(run));
    this.#running.add(run);
  }

  reconfigure(changes: BotChanges): readonly string[] {
    const before = this.#options.current;
    const options = changedOptions(before, changes);
    this.#options.replace(options);
    this.#chatSettings.replace(...chatOptions(options));
    this.responder.reconfigure(options.responder);
    this.commands.replace(...commandsOf(options.commands));
    this.#gates.reconfigure();
    return needsRestart(before, options);
  }

  health(): Health {
    return healthOf({
      model: this.#model,
      connection: connectionState(this.#napcat),
      closed: this.#closed !== undefined,
      pausedChats: this.#gates.breaker.pausedChats,
    });
  }

  async idle(): Promise<void> {
    while (this.#running.size > 0) await Promise.all(this.#running);
  }

  close(): Promise<void> {
    this.#closed ??= this.#close();
    return this.#closed;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  async #close(): Promise<void> {
    this.#napcat.off("message", this.#onMessage);
    this.#napcat.off("notice", this.#onNotice);
    this.#napcat.off("meta_event", this.#onNotice);
    this.#signal?.removeEventListener("abort", this.#onAbort);
    this.#closing.abort(new TurnCancelledError("shutdown"));
    this.#cancellation.shutDown();
    this.#calls.close();
    await settledWithin(this.idle(), CLOSE_TIMEOUT_MS);
    await this.#downloader.close();
  }

  readonly #onAbort = (): void => {
    this.close().catch(() => {});
  };
}
