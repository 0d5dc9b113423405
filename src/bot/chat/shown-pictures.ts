// Which pictures of a chat the model is shown for one question, and what stands in place of the others.
// In: the past and a question. Out: both as the prompt has them. It changes nothing that is remembered.
//
// Small models mix up pictures that are only in the history: every picture they see has to be one the question is about.
// So a question with pictures of its own shows those; one without shows the latest; earlier ones are notes with their
// numbers, which never change, and come back in front of the question that names them. Of the past, only the place of the
// latest picture ever changes its text: when the next picture comes, and for the one question that names another.

import type { Phrases } from "../reply/phrases.ts";
import type { PastTurn } from "./conversation.ts";
import { namedPictures } from "./named-pictures.ts";
import type { TurnPart } from "./turn.ts";

/** A picture of the past, by where it is kept. */
interface KeptPicture {
  readonly number: number;
  readonly turn: number;
  /** Among all pictures of the past. */
  readonly index: number;
  readonly data: Uint8Array;
}

export interface ShownChat {
  readonly past: readonly PastTurn[];
  readonly question: readonly TurnPart[];
  /**
   * For each picture in the prompt, in order: which of the past it is, or which of the question, both counted from 0 over
   * those that are kept.
   */
  readonly origins: readonly PictureOrigin[];
}

export type PictureOrigin =
  | { readonly from: "past"; readonly index: number }
  | { readonly from: "question"; readonly index: number };

/** The number of the first picture of the turn that comes next. */
export function nextPictureNumber(past: readonly PastTurn[]): number {
  return past.reduce((next, turn) => firstNumber(turn, next) + pictureSlots(turn.parts), 1);
}

/** The past and a question, with the pictures that the question is about. */
export function showPictures(
  past: readonly PastTurn[],
  question: readonly TurnPart[],
  phrases: Phrases,
): ShownChat {
  const kept = keptPictures(past);
  const first = nextPictureNumber(past);
  const own = numbersOf(question, first);
  const asked = question.map((part) => (part.type === "text" ? part.text : "")).join("");
  const latestTurn = kept.at(-1)?.turn;
  const latest = kept.filter(({ turn }) => turn === latestTurn);
  // Of several pictures sent together, "the second" is the second of them, also in the questions that follow.
  const together = own.length === 0 && latest.length > 1;
  const earlier = kept.map(({ number }) => number);
  const named = together ? [] : namedPictures(asked, { earlier, own });
  // With those before it, and never alone: a place in a row says more to a model than a label does.
  const upTo = Math.max(...named, (earlier[0] ?? 0) + 1);
  const recalled = named.length === 0 ? [] : kept.filter(({ number }) => number <= upTo);
  const stays = own.length === 0 && recalled.length === 0 ? latest : [];

  const inOrder = recalled.every(({ number }, index) => number === index + 1);
  const labelled = recalled.length > 0 && !inOrder;
  const label = (number: number): readonly TurnPart[] =>
    labelled ? [{ type: "text", text: phrases.pictureNumber(number) }] : [];
  let ownIndex = 0;
  const asOwn = question.flatMap((part): readonly TurnPart[] =>
    part.type === "image" ? [...label(own[ownIndex++]!), part] : [part],
  );
  const again = recalled.flatMap(({ number, data }): readonly TurnPart[] => [
    ...label(number),
    { type: "image", data },
  ]);
  return {
    past: hidePictures(past, new Set(stays.map(({ index }) => index)), phrases),
    question: [...again, ...asOwn],
    origins: [
      ...[...stays, ...recalled].map(({ index }) => ({ from: "past" as const, index })),
      ...own.map((_, index) => ({ from: "question" as const, index })),
    ],
  };
}

function keptPictures(past: readonly PastTurn[]): KeptPicture[] {
  const kept: KeptPicture[] = [];
  let next = 1;
  for (const [turn, pastTurn] of past.entries()) {
    next = firstNumber(pastTurn, next);
    for (const part of pastTurn.parts) {
      if (part.type === "image") {
        kept.push({ number: next, turn, index: kept.length, data: part.data });
      }
      if (isPictureSlot(part)) next++;
    }
  }
  return kept;
}

/** A note with its number in place of every picture of the past but these. */
function hidePictures(
  past: readonly PastTurn[],
  shown: ReadonlySet<number>,
  phrases: Phrases,
): readonly PastTurn[] {
  let index = 0;
  let next = 1;
  return past.map((turn) => {
    next = firstNumber(turn, next);
    const parts = turn.parts.map((part): TurnPart => {
      const number = isPictureSlot(part) ? next++ : next;
      if (part.type !== "image" || shown.has(index++)) return part;
      return { type: "note", text: phrases.earlierImage(number), replaces: "image" };
    });
    return { ...turn, parts };
  });
}

/** Turns that were stored by an earlier version say no number: they are counted. */
function firstNumber({ firstPicture }: PastTurn, counted: number): number {
  return firstPicture ?? counted;
}

function numbersOf(parts: readonly TurnPart[], first: number): number[] {
  const numbers: number[] = [];
  let next = first;
  for (const part of parts) {
    if (part.type === "image") numbers.push(next);
    if (isPictureSlot(part)) next++;
  }
  return numbers;
}

function pictureSlots(parts: readonly TurnPart[]): number {
  return parts.filter(isPictureSlot).length;
}

/** Pictures that could not be had, or are no longer kept, have their number all the same. */
function isPictureSlot(part: TurnPart): boolean {
  return part.type === "image" || (part.type === "note" && part.replaces === "image");
}
