// A message and what it quotes in, a turn with the bytes of its pictures out.
// A picture that cannot be had becomes a note. It knows nothing of the model or of how pictures are fetched.

import { isVlmBotError } from "../errors.ts";
import type { ForwardSegment, ImageReference, IncomingMessage, Segment } from "../napcat/events.ts";
import type { ImageFailureReason, Phrases } from "../reply/phrases.ts";
import { marksOf, withoutMarks } from "./marks.ts";
import type { QuotedMessage } from "./quoted-message.ts";
import { cleanName } from "./speaker-name.ts";
import type { Turn, TurnPart } from "./turn.ts";

/**
 * Text of one message, more than people type. Its tokens are made in one go, and 6000 rare characters take 0.1 s in
 * which nobody else is answered.
 */
const MAX_TEXT_CHARACTERS = 6000;

export interface TurnSources {
  readonly fetchImage: (image: ImageReference, signal?: AbortSignal) => Promise<Uint8Array>;
  readonly phrases: Phrases;
  /** Most pictures of one turn; those of the message itself come before those it quotes. */
  readonly maxImages: number;
  /** Told about every picture that became a note. */
  readonly onImageError?: (error: unknown) => void;
}

/** A picture that is not there yet. */
interface WantedImage {
  readonly type: "wanted";
  readonly image: ImageReference;
}

type Draft = readonly (TurnPart | WantedImage)[];

/**
 * Loads a turn.
 *
 * @throws {unknown} `signal.reason` when aborted, and nothing else.
 */
export async function loadTurn(
  message: IncomingMessage,
  quoted: QuotedMessage,
  sources: TurnSources,
  signal?: AbortSignal,
): Promise<Turn> {
  const { phrases, maxImages } = sources;
  const quotedSenderId = quoted.kind === "found" ? quoted.message.sender.id : undefined;
  const own = draftMessage(message, phrases, quotedSenderId);
  const quote = draftQuote(quoted, phrases);

  // Numbers follow the prompt, where the quote comes first; the limit favours the message itself.
  const ownImages = countWanted(own);
  const quoteImages = countWanted(quote);
  const spare = Math.max(0, maxImages - ownImages);
  const [parts, quoteParts] = await Promise.all([
    fill(own, { firstNumber: quoteImages + 1, limit: maxImages }, sources, signal),
    fill(quote, { firstNumber: 1, limit: spare }, sources, signal),
  ]);

  const turn = { chat: message.chat, sender: message.sender, parts };
  if (quoted.kind !== "found") return { ...turn, parts: [...quoteParts, ...parts] };
  return { ...turn, quote: { senderName: quoted.message.sender.name, parts: quoteParts } };
}

/** Has somebody said anything at all? A bare mention has no parts. */
export function isEmptyMessage(message: IncomingMessage, phrases: Phrases): boolean {
  return draftMessage(message, phrases, undefined).length === 0;
}

function draftQuote(quoted: QuotedMessage, phrases: Phrases): Draft {
  if (quoted.kind === "none") return [];
  if (quoted.kind === "lost") return [{ type: "note", text: phrases.quoteUnavailable }];
  const { message } = quoted;
  const inner = draftQuote(quoted.quoted, phrases);
  const said = draftMessage(message, phrases, undefined);
  if (quoted.quoted.kind !== "found") return [...inner, ...said];
  const name = cleanName(quoted.quoted.message.sender.name, phrases.namelessSpeaker(""));
  return [
    { type: "text", text: phrases.quoteStart(name) },
    ...inner,
    { type: "text", text: phrases.quoteEnd },
    ...said,
  ];
}

/** What a message says, without the @ that called the bot and the @ that QQ adds to every quote. */
function draftMessage(
  message: IncomingMessage,
  phrases: Phrases,
  quotedSenderId: string | undefined,
): Draft {
  const unspoken = new Set([message.selfId, quotedSenderId]);
  return picturesFirst(cutText(draftSegments(message.segments, phrases, unspoken), phrases));
}

/** @param unspoken people whose @ is not a part of what is said */
function draftSegments(
  segments: readonly Segment[],
  phrases: Phrases,
  unspoken: ReadonlySet<string | undefined>,
): Draft {
  const marks = marksOf(phrases);
  const spoken = segments.filter(
    ({ type, ...segment }) =>
      type !== "reply" && !(type === "at" && "target" in segment && unspoken.has(segment.target)),
  );
  const parts = joinTexts(spoken, marks).flatMap((segment): Draft => {
    switch (segment.type) {
      case "text":
        return [{ type: "text", text: withoutMarks(segment.text, marks) }];
      case "image":
        return [{ type: "wanted", image: segment.image }];
      case "at":
        return [{ type: "text", text: phrases.mention(segment.target) }];
      case "face":
        return [
          { type: "note", text: withoutMarks(phrases.face(cleanName(segment.name, "")), marks) },
        ];
      case "reply":
        return [];
      case "forward":
        return draftForward(segment, phrases);
      case "other":
        return [{ type: "note", text: unseenText(segment.name, phrases) }];
      default:
        return segment satisfies never;
    }
  });
  return trimEnds(parts.filter((part) => part.type === "wanted" || textOf(part) !== ""));
}

/** Texts that follow one another as one, where a mark would come into being between them. */
function joinTexts(segments: readonly Segment[], marks: readonly string[]): readonly Segment[] {
  const joined: Segment[] = [];
  for (const segment of segments) {
    const last = joined.at(-1);
    if (segment.type === "text" && last?.type === "text") {
      const apart = withoutMarks(last.text, marks) + withoutMarks(segment.text, marks);
      const text = last.text + segment.text;
      if (withoutMarks(text, marks) !== apart) {
        joined[joined.length - 1] = { type: "text", text };
        continue;
      }
    }
    joined.push(segment);
  }
  return joined;
}

/** Forwarded messages line by line, each with its sender; a note where they could not be had. */
function draftForward({ messages }: ForwardSegment, phrases: Phrases): Draft {
  if (messages === undefined) return [{ type: "note", text: unseenText("forward", phrases) }];
  const lines = messages.flatMap(({ senderName, segments }): Draft => {
    const name = cleanName(senderName, phrases.namelessSpeaker(""));
    const said = draftSegments(segments.map(indented), phrases, new Set());
    return [{ type: "text", text: `\n${phrases.speaker(name)}` }, ...said];
  });
  return [
    { type: "text", text: phrases.forwardStart },
    ...lines,
    { type: "text", text: phrases.forwardEnd },
  ];
}

/** Only the line of a sender begins at the margin: nobody can write the line of somebody else into their own. */
function indented(segment: Segment): Segment {
  if (segment.type !== "text") return segment;
  return { ...segment, text: segment.text.replace(/\r\n|[\n\r\u2028\u2029]/gu, "\n\u3000") };
}

/** Keeps the text of a message, notes included, within its bound; pictures stay. */
function cutText(draft: Draft, { textCut }: Phrases): Draft {
  let left = MAX_TEXT_CHARACTERS;
  return draft.flatMap((part): Draft => {
    if (part.type === "wanted" || part.type === "image") return [part];
    if (left < 0) return [];
    left -= part.text.length;
    if (left >= 0) return [part];
    const text = part.text.slice(0, left).replace(/\p{Surrogate}$/u, "");
    const note = { type: "note", text: textCut } as const;
    return text === "" ? [note] : [{ ...part, text }, note];
  });
}

/** The name is the sender's: only phrases count, not what every object has, such as `constructor`. */
function unseenText(name: string, { unseen }: Phrases): string {
  return (Object.hasOwn(unseen, name) ? unseen[name] : unseen.other) ?? "";
}

/**
 * QQ puts a picture that is sent along behind the text. Models are taught with the picture in front of the question
 * and read it better that way; where text and pictures alternate, their order is the sender's and stays.
 */
function picturesFirst(draft: Draft): Draft {
  const first = draft.findIndex((part) => part.type === "wanted");
  const tail = draft.slice(first);
  if (first <= 0 || tail.some((part) => part.type !== "wanted")) return draft;
  return [...tail, ...draft.slice(0, first)];
}

/** Drops white space at both ends, such as the space QQ puts behind a mention. */
function trimEnds(parts: Draft): Draft {
  const blank = (part: TurnPart | WantedImage) => part.type === "text" && part.text.trim() === "";
  const start = parts.findIndex((part) => !blank(part));
  if (start < 0) return [];
  const kept = parts.slice(start, parts.findLastIndex((part) => !blank(part)) + 1);
  return kept.map((part, index) => {
    if (part.type !== "text") return part;
    let { text } = part;
    if (index === 0) text = text.trimStart();
    if (index === kept.length - 1) text = text.trimEnd();
    return { type: "text", text };
  });
}

function textOf(part: TurnPart): string {
  return part.type === "image" ? "" : part.text;
}

function countWanted(draft: Draft): number {
  return draft.filter((part) => part.type === "wanted").length;
}

/** Fetches all pictures of a draft side by side. */
function fill(
  draft: Draft,
  { firstNumber, limit }: { readonly firstNumber: number; readonly limit: number },
  sources: TurnSources,
  signal: AbortSignal | undefined,
): Promise<readonly TurnPart[]> {
  let index = 0;
  const filled = draft.map(async (part): Promise<TurnPart> => {
    if (part.type !== "wanted") return part;
    const position = index++;
    const number = firstNumber + position;
    if (position >= limit) return imageNote(number, "too-many", sources.phrases);
    try {
      return { type: "image", data: await sources.fetchImage(part.image, signal) };
    } catch (error) {
      signal?.throwIfAborted();
      sources.onImageError?.(error);
      return imageNote(number, reasonOf(error), sources.phrases);
    }
  });
  return Promise.all(filled);
}

function imageNote(number: number, reason: ImageFailureReason, phrases: Phrases): TurnPart {
  const text = phrases.imageMissing(number, phrases.imageReasons[reason]);
  return { type: "note", text, replaces: "image" };
}

const REASONS: Readonly<Record<string, ImageFailureReason>> = {
  "url-refused": "refused",
  expired: "expired",
  "not-an-image": "not-an-image",
  "too-large": "too-large",
  "timed-out": "timed-out",
};

function reasonOf(error: unknown): ImageFailureReason {
  return (isVlmBotError(error) ? REASONS[error.code] : undefined) ?? "unavailable";
}
