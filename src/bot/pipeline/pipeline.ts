// A turn's way through the bot: receive, ask, gather, answer, deliver. In: events off the wire. Out: messages in chats.
// Every stage is a file of its own with one input and one output; this one only says what comes after what.

import type { Reply } from "../chat/answer-text.ts";
import type { AwaitedPictures, WaitingQuestion } from "../chat/awaited-pictures.ts";
import type { ChatId } from "../chat/chat-id.ts";
import type { OwnNames } from "../chat/own-names.ts";
import type { RecentPictures } from "../chat/recent-pictures.ts";
import type { Responder } from "../chat/responder.ts";
import type { Turn } from "../chat/turn.ts";
import { type AskedQuestion, askedWith } from "../commands/asked-questions.ts";
import type { CommandTools } from "../commands/command.ts";
import type { FoundCommand } from "../commands/commands.ts";
import type { Gates } from "../gates/gates.ts";
import type { IncomingMessage } from "../napcat/events.ts";
import { type Notice, parseNotice } from "../napcat/notices.ts";
import type { Acknowledge } from "../reply/acknowledge.ts";
import type { Phrases } from "../reply/phrases.ts";
import { replyText } from "../reply/reply-text.ts";
import type { ToolEvent } from "../tools/toolbox.ts";
import { pokeMessage } from "../triggers/poke-message.ts";
import type { TriggerName } from "../triggers/triggers.ts";
import type { Admission } from "./admission.ts";
import type { Ask } from "./ask.ts";
import type { Cancellation } from "./cancellation.ts";
import type { Deliver, SendOutcome } from "./deliver.ts";
import { StreamedAnswer } from "./deliver-streamed.ts";
import type { Failure } from "./failure.ts";
import type { Gather, Gathered, Gathering } from "./gather.ts";
import type { HookRunner } from "./hooks.ts";
import type { Merge, MergeWindow } from "./merge.ts";
import type { Obey } from "./obey.ts";
import type { Question } from "./question.ts";
import type { QueuePosition } from "./queue-position.ts";
import type { Receive } from "./receive.ts";
import type { RunningTurn, RunningTurns } from "./running-turns.ts";
import type { Typing } from "./typing.ts";

export interface PipelineOptions {
  readonly receive: Receive;
  readonly obey: Obey;
  readonly tools: CommandTools;
  readonly gates: Gates;
  readonly recent: RecentPictures;
  readonly awaited: AwaitedPictures;
  readonly typing: Typing;
  readonly ask: Ask;
  readonly merge: Merge;
  readonly admission: Admission;
  readonly gather: Gather;
  readonly responder: Responder;
  readonly ownNames: OwnNames;
  readonly hooks: HookRunner;
  readonly deliver: Deliver;
  readonly acknowledge: Acknowledge;
  readonly queuePosition: QueuePosition;
  readonly turns: RunningTurns;
  readonly cancellation: Cancellation;
  /** Told about every picture that became a note because it could not be decoded. */
  readonly onImageError: (error: unknown, message: IncomingMessage) => void;
  /** Told how each call of a tool ended. */
  readonly onTool: (event: ToolEvent, message: IncomingMessage) => void;
  /** Told of every answer the model has given. */
  readonly onReply: (reply: Reply) => void;
  readonly failure: Failure;
  readonly phrases: Phrases;
  /** Aborts when the bot closes. */
  readonly closing: AbortSignal;
}

/** The way of every message. */
export class Pipeline {
  readonly #stages: PipelineOptions;

  constructor(stages: PipelineOptions) {
    this.#stages = stages;
  }

  /** One message, from the wire to the answer. Never rejects. */
  async onMessage(wire: unknown): Promise<void> {
    const message = this.#stages.receive.take(wire);
    if (message === undefined) return;
    this.#stages.recent.note(message);
    await this.#handle(message);
  }

  async #handle(message: IncomingMessage): Promise<void> {
    const { obey, failure } = this.#stages;
    try {
      const command = obey.find(message);
      if (command !== undefined) return await this.#run(command, message);
      const question = await this.#ask(message);
      if (question !== undefined) await this.#answer(question, message);
    } catch (error) {
      await failure.report(error, message);
    }
  }

  /** Whatever else happens in QQ. Never rejects. */
  async onNotice(wire: unknown): Promise<void> {
    const { gates, typing, receive } = this.#stages;
    const notice = parseNotice(wire);
    if (notice === undefined) return;
    this.#note(notice);
    gates.ownMutes.note(notice);
    gates.recalled.note(notice);
    if (notice.kind === "connected") {
      gates.ownMutes.connected(notice.selfId, gates.standing.mutedGroups);
    }
    if (notice.kind === "typing") typing.note(notice.userId);
    if (notice.kind !== "poke") return;
    const message = receive.admit(pokeMessage(notice));
    if (message !== undefined) await this.#handle(message);
  }

  /** What a refused message said about the account or the group. */
  readonly onRefusal = (notice: Notice): void => {
    // NapCat's notices say when an account is back; after a refusal alone, the next message that comes in does.
    if (notice.kind !== "offline") this.#note(notice);
    else this.#stages.cancellation.note(notice);
  };

  /** What QQ said when it was asked where the bot may speak. */
  readonly onStanding = (notice: Notice): void => this.#note(notice);

  #note(notice: Notice): void {
    this.#stages.gates.standing.note(notice);
    this.#stages.cancellation.note(notice);
  }

  /** How sending to a chat went. */
  readonly onOutcome = (chat: ChatId, result: SendOutcome): void => {
    const { breaker, loopGuard } = this.#stages.gates;
    if (result.kind === "sent") {
      breaker.close(chat);
      loopGuard.said(chat, result.text);
    } else if (breaker.failed(chat, result.outcome)) {
      this.#stages.cancellation.pause(chat);
    }
  };

  /** A question once more, as if it had just been asked. Never rejects. */
  async askAgain({ pieces, trigger, turn }: AskedQuestion): Promise<void> {
    const { ask, merge, failure } = this.#stages;
    const [message, ...more] = pieces;
    try {
      const refusal = ask.closed(message) ?? (await ask.refusal(message));
      if (refusal !== undefined) return await this.#say(refusal.notice, message);
      const window = merge.open(message);
      for (const piece of more) window.add(piece);
      window.close();
      await this.#answer({ trigger, window }, message, turn);
    } catch (error) {
      await failure.report(error, message);
    }
  }

  async #run(command: FoundCommand, message: IncomingMessage): Promise<void> {
    const { obey, tools } = this.#stages;
    await this.#say(await obey.run(command, message, tools), message);
  }

  /** Something that is no answer of the model. */
  async #say(
    text: string | undefined,
    to: IncomingMessage,
    signal = this.#stages.closing,
  ): Promise<void> {
    const { deliver } = this.#stages;
    if (text !== undefined) await deliver.deliver(text, to, signal, { isOwnText: true });
  }

  /** The question this message begins. A message that belongs to an open one goes there. */
  async #ask(message: IncomingMessage): Promise<Question | undefined> {
    const { ask, merge, gates, awaited } = this.#stages;
    const { recalled } = gates;
    while (merge.undecided(message) !== undefined) await merge.undecided(message);
    const window = merge.windowFor(message);
    if (window !== undefined) {
      // One that was taken back meanwhile, too: gathering knows what that means for the question.
      window.add(message);
      return undefined;
    }
    if (recalled.refuse(message) !== undefined) return undefined;
    const waiting = ask.closed(message) === undefined ? awaited.take(message) : undefined;
    const decided = waiting?.trigger ?? ask.trigger(message);
    if (decided === undefined) return undefined;
    return merge.decide(message, async () => {
      const trigger = await decided;
      if (trigger === undefined) return undefined;
      awaited.forget(message);
      const refusal = (await ask.refusal(message)) ?? recalled.refuse(message);
      if (refusal === undefined) {
        gates.ownMutes.look(message);
        return { trigger, window: this.#open(message, waiting) };
      }
      await this.#say(refusal.notice, message);
      return undefined;
    });
  }

  /** A picture somebody was asked for is a piece of what they had asked. */
  #open(message: IncomingMessage, waiting: WaitingQuestion | undefined): MergeWindow {
    const [first, ...more] = [...(waiting?.pieces ?? []), message] as const;
    const window = this.#stages.merge.open(first ?? message);
    for (const piece of more) window.add(piece);
    return window;
  }

  /** @param ready what the pieces were found to be when they were asked for the first time */
  async #answer(
    { trigger, window }: Question,
    message: IncomingMessage,
    ready?: Turn,
  ): Promise<void> {
    const { gather, tools, acknowledge, queuePosition, awaited } = this.#stages;
    const turn = this.#begin(trigger, window, message);
    const gathering = gather.begin(turn, ready);
    const acknowledged = acknowledge.begin(message);
    window.eachPiece((piece) => {
      const prepared = gathering.prepare(piece);
      window.hold(prepared);
      prepared.then(() => this.#warm(gathering, window, turn.signal)).catch(() => {});
    });
    try {
      await this.#respond(turn, message, async () => {
        await window.closed(turn.signal);
        turn.stage = "gathering";
        acknowledged.start();
        turn.signal.throwIfAborted(); // muted or taken back while pieces came: nothing is announced
        queuePosition.watch(turn, (notice) => this.#say(notice, message, turn.signal));
        const question = { pieces: window.pieces, trigger, messageIds: turn.messageIds };
        tools.questions.note(question);
        const gathered = await gathering.finish(window.pieces);
        if (gathered.kind === "turn") tools.questions.note(askedWith(gathered.turn, question));
        else awaited.expect(question);
        turn.stage = "waiting";
        return gathered;
      });
      turn.end("answered");
      acknowledged.end("done");
    } finally {
      window.close();
      acknowledged.end(turn.signal.aborted ? "cancelled" : "failed");
      turn.end("failed");
    }
  }

  /** While more may still come, the model computes what is there already. */
  async #warm(gathering: Gathering, window: MergeWindow, signal: AbortSignal): Promise<void> {
    const { responder } = this.#stages;
    if (!responder.canWarm || !window.open) return;
    const soFar = await gathering.preview(window.pieces);
    if (soFar !== undefined && window.open) await responder.warm(soFar, signal);
  }

  #begin(trigger: TriggerName, window: MergeWindow, message: IncomingMessage): RunningTurn {
    try {
      const turn = this.#stages.admission.begin(message, trigger);
      turn.spare = (messageId) => window.drop(messageId);
      return turn;
    } catch (error) {
      window.close();
      throw error;
    }
  }

  /** The turn's place in its chat, from the first piece to the last sentence. */
  async #respond(
    turn: RunningTurn,
    message: IncomingMessage,
    gather: () => Promise<Gathered>,
  ): Promise<void> {
    const { admission, responder, ownNames, hooks, deliver, phrases, onReply } = this.#stages;
    const { chat, signal } = turn;
    const streamed = deliver.streams ? new StreamedAnswer(deliver, message, signal) : undefined;
    /** What is said when there is no answer. */
    let instead: string | undefined;
    const load = async () => {
      const gathered = await gather();
      if (gathered.kind === "turn") return (await hooks.beforeModel(gathered.turn)) || undefined;
      instead = gathered.text;
      return undefined;
    };
    await responder.respond(
      { chat, load },
      {
        signal,
        priority: admission.priorityOf(message),
        onStart: () => {
          turn.stage = "answering";
        },
        onPart: (part) => {
          turn.writing = true;
          if (part.type === "text-delta") streamed?.push(part.text);
        },
        rank: this.#stages.obey.rankOf(message),
        onToolNote: (note) => void this.#say(note, message, signal).catch(() => {}),
        onTool: (event) => this.#stages.onTool(event, message),
        onBadPicture: (error) => this.#stages.onImageError(error, message),
        ownNames: () => ownNames.in(chat, message.selfId, signal),
        edit: async (reply, asked) => {
          const text = await hooks.afterModel(reply.text, asked);
          return text === false ? undefined : { ...reply, text };
        },
        ...(streamed === undefined ? {} : { said: () => streamed.said() }),
        deliver: (reply) => {
          turn.stage = "delivering";
          onReply(reply);
          const hasText = reply.text.trim() !== "";
          if (streamed !== undefined && hasText) return streamed.end(reply.text);
          return deliver.deliver(replyText(reply, phrases), message, signal);
        },
      },
    );
    if (instead !== undefined) await deliver.deliver(instead, message, signal, { isOwnText: true });
  }
}
