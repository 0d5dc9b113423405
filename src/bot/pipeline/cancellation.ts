// What is cancelled by what, in one place. In: what happened in QQ, and what hosts and people want.
// Out: aborted turns and forgotten content. It knows nothing of stages: they follow the signal of their turn.

import { type ChatId, chatKey } from "../chat/chat-id.ts";
import type { Member, Notice } from "../napcat/notices.ts";
import type { RunningTurn, RunningTurns } from "./running-turns.ts";

/** Something that remembers what was said or shown. */
export interface Memory {
  /** Forgets everything that was made of this message: question, pictures and answer. */
  forgetMessage(chat: ChatId, messageId: string): void;
  /** Forgets a chat. */
  reset(chat: ChatId): void;
  /** Forgets what it has of a person, wherever that is. Left out where nothing is kept by person. */
  forgetPerson?(senderId: string): void;
}

/** Decides which turns an event ends, and why. */
export class Cancellation {
  readonly #turns: RunningTurns;
  readonly #memories: readonly Memory[];

  constructor(turns: RunningTurns, memories: readonly Memory[]) {
    this.#turns = turns;
    this.#memories = memories;
  }

  /** Something happened in QQ. */
  note(notice: Notice): void {
    switch (notice.kind) {
      case "recall":
        this.#recall(notice.chat, notice.messageId);
        return;
      case "mute":
        this.#turns.cancel("muted", isOf(notice.groupId, notice.who));
        return;
      case "left":
        this.#turns.cancel("kicked", isOf(notice.groupId, notice.who));
        if (notice.who.isBot) this.forgetChat({ kind: "group", id: notice.groupId });
        return;
      case "offline":
        this.#turns.cancel("offline");
        return;
      case "online":
      case "connected":
      case "unmute":
      case "joined":
      case "poke":
      case "typing":
        return;
      default:
        notice satisfies never;
    }
  }

  /** Somebody wants no answer any more: all of a chat, or those of one person. Returns how many turns that ended. */
  stop(chat: ChatId, senderId?: string): number {
    return this.#turns.cancel(
      "stopped",
      (turn) =>
        chatKey(turn.chat) === chatKey(chat) &&
        (senderId === undefined || turn.senderId === senderId),
    );
  }

  /** Nothing of a chat is to be remembered. */
  forgetChat(chat: ChatId): void {
    for (const memory of this.#memories) memory.reset(chat);
  }

  /** Nothing of a person is to be remembered. */
  forgetPerson(senderId: string): void {
    for (const memory of this.#memories) memory.forgetPerson?.(senderId);
  }

  /** Messages to a chat keep failing. */
  pause(chat: ChatId): void {
    this.#turns.cancel("paused", (turn) => chatKey(turn.chat) === chatKey(chat));
  }

  /** The bot is closing. */
  shutDown(): void {
    this.#turns.cancel("shutdown");
  }

  /**
   * First the past, then the turns: what is being remembered at this moment is forgotten either way.
   * A turn that is still being put together may go on without a piece of it.
   */
  #recall(chat: ChatId, messageId: string): void {
    for (const memory of this.#memories) memory.forgetMessage(chat, messageId);
    for (const turn of this.#turns.inChat(chat)) {
      if (!turn.involves(messageId)) continue;
      if (turn.spare(messageId)) turn.release(messageId);
      else turn.cancel("recalled");
    }
  }
}

/** Turns of a group that end when the bot, or whoever asked, can no longer speak there. */
function isOf(groupId: string, who: Member | "everybody"): (turn: RunningTurn) => boolean {
  return ({ chat, senderId }) => {
    if (chat.kind !== "group" || chat.id !== groupId) return false;
    return who === "everybody" || who.isBot || who.userId === senderId;
  };
}
