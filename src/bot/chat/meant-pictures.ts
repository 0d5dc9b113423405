// Which picture is meant by a question that shows none? In: a question, what it quotes, and the recent pictures of its
// chat. Out: question and quote with the pictures somebody means. What was quoted or sent along always wins.

import type { IncomingMessage, Segment } from "../napcat/events.ts";
import { asksAboutPicture, asksHowItLooks } from "./asks-about-picture.ts";
import type { QuotedMessage } from "./quoted-message.ts";
import { type RecentPictures, textOf } from "./recent-pictures.ts";

/** A question with everything it is about. */
export interface Asked {
  readonly message: IncomingMessage;
  readonly quote: QuotedMessage;
}

/** The earlier message, too, whose pictures were added. */
export type MeantPictures = Asked & { readonly from: IncomingMessage | undefined };

/** Adds the pictures that came a moment before, where the question has nothing of its own to look at. */
export function withMeantPictures(asked: Asked, recent: RecentPictures): MeantPictures {
  const { message, quote } = asked;
  const from = showsSomething(asked) ? undefined : recent.meantBy(message);
  if (from === undefined) return { ...asked, from };
  // One's own picture and the question after it are one; somebody else's is shown with its sender, as a quote is.
  if (from.sender.id === message.sender.id) {
    const segments = [...message.segments, ...from.segments];
    return { message: { ...message, segments }, quote, from };
  }
  return { message, quote: { kind: "found", message: from, quoted: { kind: "none" } }, from };
}

/** How much of a chat the model remembers. */
export interface Remembered {
  readonly turns: number;
  readonly images: number;
}

/**
 * Is this a question about a picture that nobody can see? QQ loses quotes on the way: the model would describe what it
 * was never shown. Where it has earlier pictures, or things were said that may be meant, it is left to the model.
 */
export function lacksItsPicture(asked: Asked, remembered: Remembered): boolean {
  if (asked.message.chat.kind !== "group" || showsSomething(asked)) return false;
  const asks = asksAboutPicture(textOf(asked.message));
  if (asks === "names") return remembered.images === 0;
  const points = asks === "points" || asksHowItLooks(textOf(asked.message));
  return points && remembered.turns === 0;
}

/** A picture, a file, a forward, a quote: anything but words, faces and mentions. */
function showsSomething({ message, quote }: Asked): boolean {
  return quote.kind !== "none" || message.segments.some(isShown);
}

function isShown({ type }: Segment): boolean {
  return type === "image" || type === "forward" || type === "other" || type === "reply";
}
