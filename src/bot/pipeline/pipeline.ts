// A turn's way through the bot: receive, ask, gather, answer, deliver. In: events off the wire. Out: messages in chats.
// Every stage is a file of its own with one input and one output; this one only says what comes after what.

import type { OwnNames } from "../chat/own-names.ts";
import type { Responder } from "../chat/responder.ts";
import type { Commands } from "../commands/commands.ts";
import type { IncomingMessage } from "../napcat/events.ts";
import { parseNotice } from "../napcat/notices.ts";
import type { Phrases } from "../reply/phrases.ts";
import { replyText } from "../reply/reply-text.ts";
import type { Ask } from "./ask.ts";
import type { Cancellation } from "./cancellation.ts";
import type { Deliver } from "./deliver.ts";
import type { Failure } from "./failure.ts";
import type { Gather } from "./gather.ts";
import type { Question } from "./question.ts";
import type { Receive } from "./receive.ts";
import type { RunningTurn, RunningTurns } from "./running-turns.ts";

export interface PipelineOptions {
  readonly receive: Receive;
  readonly commands: Commands;
  readonly ask: Ask;
  readonly gather: Gather;
  readonly responder: Responder;
  readonly ownNames: OwnNames;
  readonly deliver: Deliver;
  readonly turns: RunningTurns;
  readonly cancellation: Cancellation;
  readonly failure: Failure;
  readonly phrases: Phrases;
  readonly turnTimeoutMs: number;
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
    const { receive, ask, failure } = this.#stages;
    const message = receive.take(wire);
    if (message === undefined) return;
    try {
      if (await this.#runCommand(message)) return;
      const trigger = await ask.trigger(message);
      if (trigger === undefined) return;
      await this.#answer({ pieces: [message], trigger });
    } catch (error) {
      await failure.report(error, message);
    }
  }

  /** Whatever else happens in QQ. Never throws. */
  onNotice(wire: unknown): void {
    const notice = parseNotice(wire);
    if (notice !== undefined) this.#stages.cancellation.note(notice);
  }

  async #runCommand(message: IncomingMessage): Promise<boolean> {
    const { commands, responder, turns, cancellation, deliver, closing } = this.#stages;
    const found = commands.find(message);
    if (found === undefined) return false;
    const { command, argument } = found;
    const said = await command.run({ message, argument, responder, turns, cancellation });
    if (said !== undefined) await deliver.deliver(said, message, closing);
    return true;
  }

  async #answer(question: Question): Promise<void> {
    const { ask, turns, turnTimeoutMs, deliver, closing } = this.#stages;
    const [message] = question.pieces;
    const refusal = await ask.refusal(question);
    if (refusal !== undefined) {
      if (refusal.notice !== undefined) await deliver.deliver(refusal.notice, message, closing);
      return;
    }
    const { chat, sender } = message;
    const turn = turns.begin({ chat, senderId: sender.id, trigger: question.trigger });
    for (const { messageId } of question.pieces) turn.involve(messageId);
    turn.endAfter(turnTimeoutMs);
    try {
      await this.#run(question, turn);
      turn.end("answered");
    } finally {
      turn.end("failed");
    }
  }

  async #run(question: Question, turn: RunningTurn): Promise<void> {
    const { gather, responder, ownNames, deliver, phrases } = this.#stages;
    const [message] = question.pieces;
    if (gather.isBare(question)) {
      return deliver.deliver(phrases.emptyMention, message, turn.signal);
    }
    await responder.respond(
      {
        chat: turn.chat,
        load: async () => {
          const gathered = await gather.gather(question, turn);
          turn.stage = "waiting";
          return gathered;
        },
      },
      {
        signal: turn.signal,
        onStart: () => {
          turn.stage = "answering";
        },
        ownNames: () => ownNames.in(turn.chat, message.selfId, turn.signal),
        deliver: (reply) => {
          turn.stage = "delivering";
          return deliver.deliver(replyText(reply, phrases), message, turn.signal);
        },
      },
    );
  }
}
