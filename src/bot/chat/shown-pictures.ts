// Which pictures of a chat the model is shown for one question, and what stands in place of the others.
// In: the past and a question. Out: both as the prompt has them. It changes nothing that is remembered.
//
// Small models mix up pictures, and answers about them, that are only in the history: every picture they see has to be
// one the question is about. So
// - a question with pictures of its own shows those, and notes with their numbers stand for all others;
// - one without shows the latest where it came, or in front of itself if it asks what is in it;
// - one that names earlier pictures, or comes back from them to the latest, shows them in front of itself, behind only
//   those turns that were about them.
// Of the past, only the place of the latest picture ever changes its text: when the next picture comes, and for the one
// question that asks what is in it or names another.

import type { Phrases } from "../reply/phrases.ts";
import { asksAboutPicture } from "./asks-about-picture.ts";
import type { PastTurn } from "./conversation.ts";
import {
  countsPictures,
  type NumberedPictures,
  namedPictures,
  pointsBack,
} from "./named-pictures.ts";
import type { TurnPart } from "./turn.ts";

/** A picture of the past, by where it is kept. */
interface KeptPicture {
  readonly number: number;
  readonly turn: number;
  /** Among all pictures of the past. */
  readonly index: number;
  readonly data: Uint8Array;
}

/** Most pictures in front of a question for the sake of their order alone. */
const MAX_ROW = 3;

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

/**
 * The past and a question, with the pictures that the question is about.
 *
 * @param asked what was said, without quotes and names; left out: all text of the question
 */
export function showPictures(
  past: readonly PastTurn[],
  question: readonly TurnPart[],
  phrases: Phrases,
  asked: string = textOf(question),
): ShownChat {
  const kept = keptPictures(past);
  const own = numbersOf(question, nextPictureNumber(past));
  const earlier = kept.map(({ number }) => number);
  const topics = topicsOf(past);
  const named = topicOf(asked, { earlier, own }, topics, latestOf(kept));

  if (named.length === 0) {
    const latest = own.length === 0 ? latestOf(kept) : [];
    const asksAgain = asksAboutPicture(asked) !== "no" && latest.length === 1;
    const [stays, again] = asksAgain ? [[], latest] : [latest, []];
    return {
      past: hidePictures(past, stays, phrases),
      question: [...again.map(toPart), ...question],
      origins: [...stays, ...again].map(fromPast).concat(own.map(fromQuestion)),
    };
  }

  const isNamed = (number: number) => named.includes(number);
  const row = countsPictures(asked) ? rowUpTo(Math.max(...named), kept) : undefined;
  const recalled = row ?? kept.filter(({ number }) => isNamed(number));
  // On the only picture a label helps nobody, and the tiny model reads it as the question.
  const labelled = row === undefined && recalled.length + own.length > 1;
  const label = (number: number): readonly TurnPart[] =>
    labelled ? [{ type: "text", text: phrases.pictureNumber(number) }] : [];
  let ownIndex = 0;
  const asOwn = question.flatMap((part): readonly TurnPart[] =>
    part.type === "image" ? [...label(own[ownIndex++]!), part] : [part],
  );
  const isAbout = (turn: number) => topics[turn]!.length === 0 || topics[turn]!.some(isNamed);
  const stays = kept.filter(({ number, turn }) => isNamed(number) && isAbout(turn));
  return {
    past: hidePictures(past, stays, phrases).filter((_, turn) => isAbout(turn)),
    question: [
      ...recalled.flatMap((picture) => [...label(picture.number), toPart(picture)]),
      ...asOwn,
    ],
    origins: [...stays, ...recalled].map(fromPast).concat(own.map(fromQuestion)),
  };
}

/** What every turn of the past was about: numbers of pictures, none before there was one. */
function topicsOf(past: readonly PastTurn[]): readonly (readonly number[])[] {
  const topics: (readonly number[])[] = [];
  const earlier: number[] = [];
  let latest: readonly number[] = [];
  let next = 1;
  for (const turn of past) {
    next = firstNumber(turn, next);
    const slots = pictureSlots(turn.parts);
    const own = Array.from({ length: slots }, (_, index) => next + index);
    next += slots;
    if (own.length > 0) latest = own;
    const numbered = { earlier, own };
    const together = own.length === 0 && latest.length > 1;
    const named = together ? [] : spokenOf(textOf(turn.parts), numbered, topics.at(-1) ?? []);
    topics.push([...named, ...(own.length > 0 || named.length === 0 ? latest : [])]);
    earlier.push(...own);
  }
  return topics;
}

/** Numbers of the earlier pictures that a question is about; empty if it is about its own or the latest. */
function topicOf(
  asked: string,
  numbered: NumberedPictures,
  topics: readonly (readonly number[])[],
  latest: readonly KeptPicture[],
): readonly number[] {
  // Of several pictures sent together, "the second" is the second of them, also in the questions that follow.
  if (numbered.own.length === 0 && latest.length > 1) return [];
  const isLatest = (topic: readonly number[]) =>
    latest.some(({ number }) => topic.includes(number));
  const lastTopic = topics.at(-1) ?? [];
  const named = spokenOf(asked, numbered, isLatest(lastTopic) ? [] : lastTopic);
  if (named.length > 0 || numbered.own.length > 0 || asksAboutPicture(asked) === "no") return named;
  // Since the latest came, others were spoken of: the answers about them are in the way.
  const wandered = topics.slice(latest[0]?.turn).some((topic) => !isLatest(topic));
  return wandered ? latest.map(({ number }) => number) : [];
}

/** Named, or what was spoken of last when a question points back to it. */
function spokenOf(
  asked: string,
  { earlier, own }: NumberedPictures,
  lastTopic: readonly number[],
): readonly number[] {
  const named = namedPictures(asked, { earlier, own });
  if (named.length > 0 || own.length > 0 || !pointsBack(asked)) return named;
  return earlier.filter((number) => lastTopic.includes(number));
}

/** All pictures from the first one to this, if they are there and few. */
function rowUpTo(number: number, kept: readonly KeptPicture[]): readonly KeptPicture[] | undefined {
  // Never one alone: a place in a row says more to a model than a label does.
  const row = kept.slice(0, Math.max(number, 2));
  const whole = row.length >= 2 && row.every((picture, index) => picture.number === index + 1);
  return whole && row.length <= MAX_ROW ? row : undefined;
}

/** Those that came with the latest turn that has any. */
function latestOf(kept: readonly KeptPicture[]): readonly KeptPicture[] {
  const turn = kept.at(-1)?.turn;
  return kept.filter((picture) => picture.turn === turn);
}

const toPart = ({ data }: KeptPicture): TurnPart => ({ type: "image", data });
const fromPast = ({ index }: KeptPicture): PictureOrigin => ({ from: "past", index });
const fromQuestion = (_: number, index: number): PictureOrigin => ({ from: "question", index });

/** What the text parts say. */
export function textOf(parts: readonly TurnPart[]): string {
  return parts.map((part) => (part.type === "text" ? part.text : "")).join("");
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
  shown: readonly KeptPicture[],
  phrases: Phrases,
): readonly PastTurn[] {
  const indices = new Set(shown.map((picture) => picture.index));
  let index = 0;
  let next = 1;
  return past.map((turn) => {
    next = firstNumber(turn, next);
    const parts = turn.parts.map((part): TurnPart => {
      const number = isPictureSlot(part) ? next++ : next;
      if (part.type !== "image" || indices.has(index++)) return part;
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
