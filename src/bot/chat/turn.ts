// What somebody asked, ready for the model: types only. Pictures are bytes by now.
// It knows nothing of OneBot, of downloads or of the model.

import type { ChatId } from "./chat-id.ts";

/** A piece of a message, in the order it was written. */
export type TurnPart =
  | { readonly type: "text"; readonly text: string }
  | { readonly type: "image"; readonly data: Uint8Array }
  | NotePart;

/** A sentence for the model in place of something it cannot see, such as a picture that did not load. */
export interface NotePart {
  readonly type: "note";
  readonly text: string;
  /** Set when a picture would stand here: pictures of a turn are numbered with those that failed. */
  readonly replaces?: "image";
}

/** Who said something. */
export interface Speaker {
  readonly id: string;
  /** Group card or nickname, as people typed it; cleaned before the model sees it. */
  readonly name: string;
}

/** One question to the model. */
export interface Turn {
  readonly chat: ChatId;
  readonly sender: Speaker;
  readonly parts: readonly TurnPart[];
  /** The message that was quoted. It comes before `parts` in the prompt. */
  readonly quote?: Quote;
  /** Set where `parts` are all that the model is to read: of a question that was read back. It says which names are in them. */
  readonly asRead?: { readonly names: readonly string[] };
  /** Messages of the chat it is made of; when one of them is taken back, the turn is forgotten. */
  readonly messageIds?: readonly string[];
}

export interface Quote {
  readonly senderName: string;
  readonly parts: readonly TurnPart[];
}

/** A turn whose pictures are still on their way. It keeps its place in the chat while it loads. */
export interface PendingTurn {
  readonly chat: ChatId;
  /** Called once, as soon as the turn has its place in the queue; `undefined` when there is nothing to answer after all. */
  readonly load: (signal: AbortSignal | undefined) => Promise<Turn | undefined>;
}
