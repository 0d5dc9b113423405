// The stages of a turn's way, put together. In: the settings and the parts a bot has. Out: a pipeline, and its gates.
// Every stage gets what it needs, and nothing else. What happens to a message is in the stages, not here.

import { isVlmError } from "../../vlm/index.ts";
import type { AwaitedPictures } from "../chat/awaited-pictures.ts";
import type { ChatId } from "../chat/chat-id.ts";
import type { SettingsOfChats } from "../chat/chat-settings.ts";
import type { ChatSwitches } from "../chat/chat-switches.ts";
import { OwnNames } from "../chat/own-names.ts";
import { QuoteLookups } from "../chat/quote-lookups.ts";
import type { RecentPictures } from "../chat/recent-pictures.ts";
import type { Responder } from "../chat/responder.ts";
import type { AskedQuestions } from "../commands/asked-questions.ts";
import type { Commands } from "../commands/commands.ts";
import { TurnCounts } from "../commands/turn-counts.ts";
import { isVlmBotError } from "../errors.ts";
import { Gates } from "../gates/gates.ts";
import type { Downloader } from "../images/download.ts";
import { ImageFetcher } from "../images/fetch-image.ts";
import type { BotMetrics } from "../metrics/bot-metrics.ts";
import { countedAskedGates, countedGates } from "../metrics/counted-gates.ts";
import type { NapCatCalls } from "../napcat/calls.ts";
import type { IncomingMessage } from "../napcat/events.ts";
import type { Notice } from "../napcat/notices.ts";
import { Sender } from "../napcat/send.ts";
import { TemporarySessions } from "../napcat/temporary-sessions.ts";
import type { ResolvedInstallOptions } from "../options.ts";
import { Acknowledge } from "../reply/acknowledge.ts";
import { NoticeLimiter } from "../reply/notice-limiter.ts";
import type { RecentErrors } from "../status/recent-errors.ts";
import type { AskModel } from "../triggers/ask-model.ts";
import { Admission } from "./admission.ts";
import { Ask } from "./ask.ts";
import type { Cancellation } from "./cancellation.ts";
import { Deliver, type SendOutcome } from "./deliver.ts";
import { Failure, facts } from "./failure.ts";
import { Gather } from "./gather.ts";
import { HookRunner } from "./hooks.ts";
import { Merge } from "./merge.ts";
import { Obey } from "./obey.ts";
import { Pipeline } from "./pipeline.ts";
import { QueuePosition } from "./queue-position.ts";
import { Receive } from "./receive.ts";
import type { RunningTurns } from "./running-turns.ts";
import { Typing } from "./typing.ts";

/** What a bot has besides its pipeline. */
export interface BotParts {
  readonly settings: ResolvedInstallOptions;
  readonly chatSettings: SettingsOfChats;
  readonly askModel: AskModel;
  readonly calls: NapCatCalls;
  readonly downloader: Downloader;
  readonly responder: Responder;
  readonly commands: Commands;
  readonly switches: ChatSwitches;
  readonly turns: RunningTurns;
  readonly cancellation: Cancellation;
  readonly recent: RecentPictures;
  readonly awaited: AwaitedPictures;
  readonly questions: AskedQuestions;
  readonly metrics: BotMetrics;
  readonly errors: RecentErrors;
  /** Aborts when the bot closes. */
  readonly closing: AbortSignal;
  /** Waits for this work before the bot counts as idle. */
  readonly track: (work: Promise<void>) => void;
}

export interface Assembly {
  readonly pipeline: Pipeline;
  readonly gates: Gates;
}

/** Puts a pipeline together. */
export function assemble(parts: BotParts): Assembly {
  const { settings, chatSettings, askModel, calls, responder, switches, turns } = parts;
  const { cancellation, recent, questions, metrics, closing } = parts;
  // Sections are views that follow the options; what is a value of its own is asked for when it is needed.
  const { logger, images, reply } = settings;
  const { phrases } = settings.responder;
  const sessions = new TemporarySessions(calls);
  const sender = new Sender(calls, sessions);
  const quotes = new QuoteLookups(calls, sender, closing);
  const notices = new NoticeLimiter();
  const counts = new TurnCounts();
  const gates = new Gates({
    options: settings,
    switches,
    calls,
    sessions,
    phrases,
    notices,
    onStanding: (notice: Notice) => pipeline.onStanding(notice),
  });
  turns.onEnd(({ chat, senderId }, outcome) => {
    counts.ended(outcome);
    if (outcome === "answered") gates.loopGuard.answered(chat, senderId);
  });
  const refused = (reason: string) => metrics.refused(reason);
  const hooks = new HookRunner(settings.hooks);
  const deliver = new Deliver({
    sender,
    hooks,
    reply,
    get forwardName() {
      return phrases.forwardName;
    },
    onRefusal: (notice: Notice) => pipeline.onRefusal(notice),
    onOutcome: (chat: ChatId, result: SendOutcome) => {
      metrics.sent(result.kind === "sent" ? "sent" : result.outcome);
      pipeline.onOutcome(chat, result);
    },
  });
  const acknowledge = new Acknowledge(calls, reply.acknowledge);
  const onImageError = (error: unknown, message: IncomingMessage) => {
    metrics.pictureUnreadable(codeOf(error));
    logger.warn("A picture could not be read; the model is told so.", facts(message, error));
  };
  const pipeline: Pipeline = new Pipeline({
    receive: new Receive({
      gates: countedGates(gates.atDoor, refused),
      logger,
      stickers: images.stickers,
      onMessage: ({ chat }) => metrics.received(chat.kind),
      onStale: (message) => recent.note(message),
    }),
    gates,
    typing: new Typing(responder, closing),
    ask: new Ask({
      beforeTrigger: countedGates(gates.beforeTrigger, refused),
      beforeTurn: countedAskedGates(gates.beforeTurn, refused),
      settings: chatSettings,
      quotes,
      askModel,
      hooks,
    }),
    obey: new Obey({ commands: parts.commands, admins: settings.admins, limits: gates.limits }),
    tools: {
      responder,
      turns,
      cancellation,
      switches,
      breaker: gates.breaker,
      questions,
      recent,
      awaited: parts.awaited,
      isServed: (message) => gates.serves(message),
      counts,
      phrases,
      askAgain: (question) => parts.track(pipeline.askAgain(question)),
      get reload() {
        return settings.commands.onReload;
      },
    },
    merge: new Merge(settings.merge),
    admission: new Admission({
      turns,
      settings: chatSettings,
      priority: settings.priority,
      admins: settings.admins,
      get turnTimeoutMs() {
        return settings.turnTimeoutMs;
      },
    }),
    recent,
    awaited: parts.awaited,
    gather: new Gather({
      calls,
      quotes,
      recent,
      remembered: (chat, senderId) =>
        turns.inChat(chat).length > 1 ? undefined : responder.remembered(chat, senderId),
      isRecalled: (chat, messageId) => gates.recalled.has(chat, messageId),
      images: new ImageFetcher(calls, parts.downloader, images),
      phrases,
      get maxImages() {
        return images.maxPerTurn;
      },
      onImageError,
    }),
    onImageError,
    responder,
    ownNames: new OwnNames(calls),
    hooks,
    deliver,
    acknowledge,
    queuePosition: new QueuePosition(turns, reply, phrases),
    turns,
    cancellation,
    onTool: ({ tool, outcome, ms, error }, message) => {
      metrics.toolCalled(outcome);
      if (outcome === "done") return;
      const failed = { ...facts(message, error), tool, outcome, ms: Math.round(ms) };
      logger.warn("A call of a tool came to nothing; the model is told so.", failed);
    },
    onReply: ({ result }) => metrics.answered(result),
    failure: new Failure({
      logger,
      phrases,
      onError: (error, context) => settings.onError(error, context),
      deliver,
      acknowledge,
      form: () => reply.errors,
      notices,
      signal: closing,
      recent: parts.errors,
    }),
    phrases,
    closing,
  });
  return { pipeline, gates };
}

/** One word for counters. */
function codeOf(error: unknown): string {
  return isVlmBotError(error) || isVlmError(error) ? error.code : "other";
}
