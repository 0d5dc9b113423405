// The bot: events come in, answers go out. It puts the parts of a bot together, listens, and closes in bounded time.
// What happens to a message is in `pipeline/`. It knows nothing of how the connection is kept alive, or of what the model is.

import { setTimeout as sleep } from "node:timers/promises";
import { sharedController } from "../abort.ts";
import { isVlmError, type VisionLanguageModel } from "../vlm/index.ts";
import type { ChatId } from "./chat/chat-id.ts";
import { SettingsOfChats } from "./chat/chat-settings.ts";
import { ChatSwitches } from "./chat/chat-switches.ts";
import { OwnNames } from "./chat/own-names.ts";
import { QuoteLookups } from "./chat/quote-lookups.ts";
import { RecentPictures } from "./chat/recent-pictures.ts";
import { Responder } from "./chat/responder.ts";
import { AskedQuestions } from "./commands/asked-questions.ts";
import { BUILT_IN } from "./commands/built-in.ts";
import { Commands } from "./commands/commands.ts";
import { TurnCounts } from "./commands/turn-counts.ts";
import { isVlmBotError, TurnCancelledError } from "./errors.ts";
import { Gates } from "./gates/gates.ts";
import { Downloader } from "./images/download.ts";
import { ImageFetcher } from "./images/fetch-image.ts";
import { BotMetrics } from "./metrics/bot-metrics.ts";
import { countedAskedGates, countedGates } from "./metrics/counted-gates.ts";
import { NapCatCalls } from "./napcat/calls.ts";
import { expectClient, type NapCatClient } from "./napcat/napcat-client.ts";
import type { Notice } from "./napcat/notices.ts";
import { Sender } from "./napcat/send.ts";
import { TemporarySessions } from "./napcat/temporary-sessions.ts";
import {
  type InstallVlmOptions,
  parseInstallOptions,
  type ResolvedInstallOptions,
} from "./options.ts";
import { Admission } from "./pipeline/admission.ts";
import { Ask } from "./pipeline/ask.ts";
import { Cancellation } from "./pipeline/cancellation.ts";
import { Deliver, type SendOutcome } from "./pipeline/deliver.ts";
import { Failure, facts } from "./pipeline/failure.ts";
import { Gather } from "./pipeline/gather.ts";
import { HookRunner } from "./pipeline/hooks.ts";
import { Merge } from "./pipeline/merge.ts";
import { Obey } from "./pipeline/obey.ts";
import { Pipeline } from "./pipeline/pipeline.ts";
import { QueuePosition } from "./pipeline/queue-position.ts";
import { Receive } from "./pipeline/receive.ts";
import { RunningTurns } from "./pipeline/running-turns.ts";
import { Typing } from "./pipeline/typing.ts";
import { Acknowledge } from "./reply/acknowledge.ts";
import { NoticeLimiter } from "./reply/notice-limiter.ts";
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
  readonly #signal: AbortSignal | undefined;
  readonly #switches: ChatSwitches;
  readonly #calls: NapCatCalls;
  readonly #downloader: Downloader;
  readonly #turns = new RunningTurns();
  readonly #metrics: BotMetrics;
  readonly #errors = new RecentErrors();
  readonly #model: VisionLanguageModel;
  #pausedChats: () => number = () => 0;
  readonly #recent: RecentPictures;
  readonly #questions = new AskedQuestions();
  readonly #cancellation: Cancellation;
  readonly #pipeline: Pipeline;
  readonly #closing = sharedController();
  readonly #running = new Set<Promise<void>>();
  #closed: Promise<void> | undefined;

  constructor(napcat: NapCatClient, settings: ResolvedInstallOptions) {
    this.#napcat = napcat;
    this.#signal = settings.signal;
    const { triggers, queuePolicy, chats } = settings;
    const { systemPrompt, isolation } = settings.responder;
    const everywhere = { triggers, queuePolicy, systemPrompt, isolation };
    const chatSettings = new SettingsOfChats(everywhere, chats);
    this.#switches = new ChatSwitches(settings.responder.store?.switches);
    this.responder = new Responder(settings.responder, (chat) => {
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
    const memories = [this.responder, this.#recent, this.#questions];
    this.#cancellation = new Cancellation(this.#turns, memories);
    const { enabled, prefix, own, permissions } = settings.commands;
    this.commands = new Commands(prefix, enabled ? [...BUILT_IN, ...own] : own, permissions);
    const askModel = new AskModel(settings.responder.model, settings.responder.phrases);
    this.shouldReply = shouldReplyBy(chatSettings, askModel);
    this.#pipeline = this.#build(settings, chatSettings, askModel);
    napcat.on("message", this.#onMessage);
    napcat.on("notice", this.#onNotice);
    napcat.on("meta_event", this.#onNotice);
    this.#signal?.addEventListener("abort", this.#onAbort, { once: true });
    if (this.#signal?.aborted) this.#onAbort();
  }

  /** Every part of the pipeline gets what it needs, and nothing else. */
  #build(
    settings: ResolvedInstallOptions,
    chatSettings: SettingsOfChats,
    askModel: AskModel,
  ): Pipeline {
    const { logger, images, reply, onError } = settings;
    const { phrases } = settings.responder;
    const { signal } = this.#closing;
    const sessions = new TemporarySessions(this.#calls);
    const sender = new Sender(this.#calls, sessions);
    const quotes = new QuoteLookups(this.#calls, sender, signal);
    const notices = new NoticeLimiter();
    const counts = new TurnCounts();
    const gates = new Gates({
      options: settings,
      switches: this.#switches,
      calls: this.#calls,
      sessions,
      phrases,
      notices,
    });
    this.#turns.onEnd(({ chat, senderId }, outcome) => {
      counts.ended(outcome);
      if (outcome === "answered") gates.loopGuard.answered(chat, senderId);
    });
    this.#pausedChats = () => gates.breaker.pausedChats;
    const metrics = this.#metrics;
    const refused = (reason: string) => metrics.refused(reason);
    const hooks = new HookRunner(settings.hooks);
    const onRefusal = (notice: Notice) => this.#pipeline.onRefusal(notice);
    const onOutcome = (chat: ChatId, result: SendOutcome) => {
      metrics.sent(result.kind === "sent" ? "sent" : result.outcome);
      this.#pipeline.onOutcome(chat, result);
    };
    const deliver = new Deliver({
      sender,
      hooks,
      reply,
      forwardName: phrases.forwardName,
      onRefusal,
      onOutcome,
    });
    return new Pipeline({
      receive: new Receive({
        gates: countedGates(gates.atDoor, refused),
        logger,
        onMessage: ({ chat }) => metrics.received(chat.kind),
      }),
      gates,
      typing: new Typing(this.responder, signal),
      ask: new Ask({
        beforeTrigger: countedGates(gates.beforeTrigger, refused),
        beforeTurn: countedAskedGates(gates.beforeTurn, refused),
        settings: chatSettings,
        quotes,
        askModel,
        hooks,
      }),
      obey: new Obey({
        commands: this.commands,
        admins: settings.admins,
        limits: gates.limits,
      }),
      tools: {
        responder: this.responder,
        turns: this.#turns,
        cancellation: this.#cancellation,
        switches: this.#switches,
        breaker: gates.breaker,
        questions: this.#questions,
        counts,
        phrases,
        askAgain: (question) => this.#track(this.#pipeline.askAgain(question)),
        reload: settings.commands.onReload,
      },
      merge: new Merge(settings.merge),
      admission: new Admission({ ...settings, turns: this.#turns, settings: chatSettings }),
      recent: this.#recent,
      gather: new Gather({
        calls: this.#calls,
        quotes,
        recent: this.#recent,
        remembered: (chat, senderId) =>
          this.#turns.inChat(chat).length > 1
            ? undefined
            : this.responder.remembered(chat, senderId),
        images: new ImageFetcher(this.#calls, this.#downloader, images),
        phrases,
        maxImages: images.maxPerTurn,
        onImageError: (error, message) => {
          metrics.pictureUnreadable(codeOf(error));
          logger.warn("A picture could not be read; the model is told so.", facts(message, error));
        },
      }),
      responder: this.responder,
      ownNames: new OwnNames(this.#calls),
      hooks,
      deliver,
      acknowledge: new Acknowledge(this.#calls, reply.acknowledge),
      queuePosition: new QueuePosition(this.#turns, reply.queueNoticeFrom, phrases),
      turns: this.#turns,
      cancellation: this.#cancellation,
      onReply: ({ result }) => metrics.answered(result),
      failure: new Failure({
        logger,
        phrases,
        onError,
        deliver,
        notices,
        signal,
        recent: this.#errors,
      }),
      phrases,
      closing: signal,
    });
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

  health(): Health {
    return healthOf({
      model: this.#model,
      connection: connectionState(this.#napcat),
      closed: this.#closed !== undefined,
      pausedChats: this.#pausedChats(),
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
    const patience = new AbortController();
    await Promise.race([
      this.idle(),
      sleep(CLOSE_TIMEOUT_MS, undefined, { signal: patience.signal }).catch(() => {}),
    ]);
    patience.abort();
    await this.#downloader.close();
  }

  readonly #onAbort = (): void => {
    this.close().catch(() => {});
  };
}

/** One word for counters. */
function codeOf(error: unknown): string {
  return isVlmBotError(error) || isVlmError(error) ? error.code : "other";
}
