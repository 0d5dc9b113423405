// Turns as they are kept: pictures by their hash, so that each is kept once. In: turns as the model sees them. Out: kept
// ones, within the bounds of a past, and the marks they are found by. It keeps nothing itself.

import { createHash } from "node:crypto";
import type { PastTurn } from "./conversation.ts";
import type { NotePart, TurnPart } from "./turn.ts";

/** A picture by the SHA-256 of its bytes, in hexadecimal. */
export interface KeptPicture {
  readonly type: "picture";
  readonly hash: string;
  readonly bytes: number;
}

export type KeptPart = Exclude<TurnPart, { readonly type: "image" }> | KeptPicture;

/** A {@link PastTurn} without the bytes of its pictures: plain JSON. */
export interface KeptTurn extends Omit<PastTurn, "parts"> {
  readonly parts: readonly KeptPart[];
}

/** The bounds of one past. */
export interface PastLimits {
  readonly maxTurns: number;
  readonly maxTokens: number;
  readonly maxImages: number;
  readonly maxImageBytes: number;
}

const hashes = new WeakMap<Uint8Array, string>();

/** Computed once for the same array. */
export function pictureHash(data: Uint8Array): string {
  const known = hashes.get(data);
  if (known !== undefined) return known;
  const hash = createHash("sha256").update(data).digest("hex");
  hashes.set(data, hash);
  return hash;
}

/** What a turn is found by, when something of it has to be forgotten. */
export const mark = {
  message: (chat: string, messageId: string) => `message:${chat}#${messageId}`,
  chat: (chat: string) => `chat:${chat}`,
  person: (id: string) => `person:${id}`,
  picture: (hash: string) => `picture:${hash}`,
} as const;

export function marksOf({ chat, sender, messageIds = [], parts }: KeptTurn): readonly string[] {
  return [
    ...(chat === undefined ? [] : [mark.chat(chat)]),
    ...(sender === undefined ? [] : [mark.person(sender)]),
    ...messageIds.map((id) => mark.message(chat ?? "", id)),
    ...hashesOf(parts).map(mark.picture),
  ];
}

export function hashesOf(parts: readonly KeptPart[]): readonly string[] {
  return parts.flatMap((part) => (part.type === "picture" ? [part.hash] : []));
}

/** The newest turns and pictures, as far as they fit. */
export function withinLimits(
  past: readonly KeptTurn[],
  limits: PastLimits,
  older: NotePart,
): readonly KeptTurn[] {
  return boundPictures(boundTurns(past, limits), limits, older);
}

/**
 * Keeps the newest turns. A full past loses a quarter at once, not one turn each time: as long as its beginning stays the
 * same, the model can reuse what it computed for it.
 */
function boundTurns(
  past: readonly KeptTurn[],
  { maxTurns, maxTokens }: PastLimits,
): readonly KeptTurn[] {
  const sizes = past.map(tokensOf);
  const kept = newestFitting(sizes, maxTurns, maxTokens);
  if (kept === past.length) return past;
  const fewer = newestFitting(
    sizes,
    maxTurns - Math.floor(maxTurns / 4),
    maxTokens - Math.floor(maxTokens / 4),
  );
  return fewer === 0 ? [] : past.slice(-fewer);
}

/**
 * Replaces pictures beyond the bounds, oldest first, by a note. As with turns, a quarter goes at once: every picture that
 * becomes a note changes what the model has computed of all that follows it.
 */
function boundPictures(
  past: readonly KeptTurn[],
  { maxImages, maxImageBytes }: PastLimits,
  older: NotePart,
): readonly KeptTurn[] {
  const sizes = past.flatMap(({ parts }) =>
    parts.flatMap((part) => (part.type === "picture" ? [part.bytes] : [])),
  );
  const fitting = newestFitting(sizes, maxImages, maxImageBytes);
  if (fitting === sizes.length) return past;
  const kept = fitting - Math.floor(fitting / 4);
  let dropped = sizes.length - kept;
  return past.map((turn) => {
    if (dropped === 0) return turn;
    const parts = turn.parts.map((part): KeptPart => {
      if (part.type !== "picture" || dropped === 0) return part;
      dropped--;
      return older;
    });
    return { ...turn, parts };
  });
}

/** How many of the last ones fit. */
function newestFitting(sizes: readonly number[], max: number, maxSum: number): number {
  let sum = 0;
  const first = sizes.findLastIndex((size, index) => {
    sum += size;
    return sizes.length - index > max || sum > maxSum;
  });
  return sizes.length - 1 - first;
}

/** Characters that a token of their own is likely for: Chinese, Japanese, Korean, and everything rarer. */
const WIDE = /[\u2E80-\u{10FFFF}]/gu;
const CHARACTERS_PER_TOKEN = 3;
const TOKENS_AROUND_TURN = 10;

/** How many tokens the text of a turn is, estimated without the model: rather too many than too few. */
function tokensOf({ parts, answer }: KeptTurn): number {
  const said = parts.map((part) => (part.type === "picture" ? "" : part.text));
  return [...said, answer].reduce((sum, text) => sum + tokensOfText(text), TOKENS_AROUND_TURN);
}

export function tokensOfText(text: string): number {
  const wide = text.match(WIDE)?.join("").length ?? 0;
  return wide + Math.ceil((text.length - wide) / CHARACTERS_PER_TOKEN);
}

/** Bytes of text as JavaScript keeps it; never 0, which a cache refuses. */
export function textBytesOf(past: readonly KeptTurn[]): number {
  let bytes = 1;
  for (const { parts, answer, names = [], messageIds = [] } of past) {
    const texts = parts.map((part) => (part.type === "picture" ? part.hash : part.text));
    for (const text of [...texts, answer, ...names, ...messageIds]) bytes += 2 * text.length;
  }
  return bytes;
}
