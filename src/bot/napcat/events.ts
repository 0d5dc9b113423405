// OneBot message events off the wire in, IncomingMessage out. Tolerant of missing fields and of other spellings.
// Only segments count: `raw_message` can be forged by typing. It knows nothing of triggers or downloads.

import type { ChatId } from "../chat/chat-id.ts";
import type { Speaker } from "../chat/turn.ts";
import { withoutDoubles } from "./picture-doubles.ts";
import { idOf, isRecord, numberOf, textOf, type WireRecord } from "./wire.ts";

/** A picture somebody sent: where it may be found, not its bytes. */
export interface ImageReference {
  /** NapCat's name for the file; its ending says nothing about the format. On some servers a link. */
  readonly file: string;
  /** May be empty, expired or forged. */
  readonly url: string;
  /** Size NapCat reports before any download. */
  readonly bytes: number | undefined;
  /** The message it came in, `""` if nobody can look that up; and which of its pictures it is, from 0. */
  readonly messageId: string;
  readonly index: number;
  /** A sticker of QQ's shop: NapCat's `get_image` does not know these. */
  readonly marketFace: boolean;
}

/** A part of a message. `other` is whatever the model cannot be shown, by its OneBot name. */
export type Segment =
  | { readonly type: "text"; readonly text: string }
  | { readonly type: "at"; readonly target: string }
  | { readonly type: "reply"; readonly messageId: string }
  | { readonly type: "image"; readonly image: ImageReference }
  | { readonly type: "face"; readonly name: string }
  | ForwardSegment
  | { readonly type: "other"; readonly name: string };

/** Messages of elsewhere, sent on in one. */
export interface ForwardSegment {
  readonly type: "forward";
  /** 19 digits mostly, more than a number holds; `""` if it came without one. */
  readonly id: string;
  /** The messages as they came off the wire, if they came along: not looked at before somebody asks. */
  readonly content: unknown;
  /** The messages once somebody asked; `undefined` before that, and for good if they cannot be had. */
  readonly messages?: readonly ForwardedMessage[] | undefined;
}

export interface ForwardedMessage {
  readonly senderName: string;
  readonly segments: readonly Segment[];
}

/** Where an answer goes. `temporary`: to somebody who is no friend; `groupId` is the group both are in, if known. */
export type ReplyTarget =
  | { readonly kind: "group"; readonly groupId: string }
  | {
      readonly kind: "private";
      readonly userId: string;
      readonly temporary?: true;
      readonly groupId?: string;
    };

/** One message, from whichever OneBot implementation. */
export interface IncomingMessage {
  readonly selfId: string;
  readonly messageId: string;
  readonly chat: ChatId;
  readonly target: ReplyTarget;
  readonly sender: Speaker;
  /** What the sender is in the group; left out for a member, and where nothing is said of it. */
  readonly senderRole?: "owner" | "admin";
  /** The bot's own message, reported back. */
  readonly fromSelf: boolean;
  /** When QQ says it was sent, in milliseconds since 1970; `undefined` if it does not say. */
  readonly timeMs: number | undefined;
  readonly segments: readonly Segment[];
  /** Not written at all: somebody poked the bot. There is nothing in it, and it cannot be quoted. */
  readonly poke?: true;
}

/** `string-format`: the message is CQ codes, which cannot be told from typed text and lose URLs. */
export type ParsedEvent =
  | { readonly kind: "message"; readonly message: IncomingMessage }
  | { readonly kind: "string-format" }
  | { readonly kind: "not-a-message" };

/** NapCat writes this in place of a group it does not know. It is none: nothing may be sent to it or asked about it. */
const UNKNOWN_GROUP = "284840486";

const NOT_A_MESSAGE: ParsedEvent = { kind: "not-a-message" };

/** What is made of stickers: pictures like all others, their names, or nothing. */
export type StickerPolicy = "see" | "name" | "ignore";

/** Parses an event, or what `get_msg` answers. Never throws. */
export function parseMessageEvent(wire: unknown, stickers: StickerPolicy = "see"): ParsedEvent {
  if (!isRecord(wire)) return NOT_A_MESSAGE;
  const { post_type: postType = "message", message_type: messageType } = wire;
  if (postType !== "message" && postType !== "message_sent") return NOT_A_MESSAGE;
  if (messageType !== "group" && messageType !== "private") return NOT_A_MESSAGE;

  const messageId = idOf(wire.message_id);
  const selfId = idOf(wire.self_id);
  const userId = idOf(wire.user_id);
  if (messageId === undefined || selfId === undefined || userId === undefined) return NOT_A_MESSAGE;
  if (typeof wire.message === "string" || wire.message_format === "string") {
    return { kind: "string-format" };
  }
  if (!Array.isArray(wire.message)) return NOT_A_MESSAGE;
  const segments = parseSegments(wire.message, messageId, stickers);
  if (segments.some(lostItsUrl)) return { kind: "string-format" };

  const fromSelf = postType === "message_sent" || userId === selfId;
  const target =
    messageType === "group"
      ? groupTarget(wire)
      : privateTarget(wire, fromSelf ? undefined : userId);
  if (target === undefined) return NOT_A_MESSAGE;
  return {
    kind: "message",
    message: {
      selfId,
      messageId,
      chat:
        target.kind === "group"
          ? { kind: "group", id: target.groupId }
          : { kind: "private", id: target.userId },
      target,
      sender: { id: userId, name: senderNameOf(wire.sender) },
      ...senderRoleOf(wire),
      fromSelf,
      timeMs: timeMsOf(wire.time),
      segments,
    },
  };
}

/** The pictures of what `get_msg` answers; other servers leave out most of what an event has. Never throws. */
export function parseImages(wire: unknown): readonly ImageReference[] {
  if (!isRecord(wire) || !Array.isArray(wire.message)) return [];
  const segments = parseSegments(wire.message, idOf(wire.message_id) ?? "");
  return segments.flatMap((segment) => (segment.type === "image" ? [segment.image] : []));
}

/** The messages of a merged forward, at most `limit` of them. What is none is left out. Never throws. */
export function parseForwarded(content: unknown, limit: number): readonly ForwardedMessage[] {
  if (!Array.isArray(content)) return [];
  return content.slice(0, limit).flatMap((wire) => {
    if (!isRecord(wire)) return [];
    // Other servers wrap each message into a node, or call its segments `content`.
    const node = isRecord(wire.data) ? wire.data : wire;
    const segments = Array.isArray(node.message) ? node.message : node.content;
    if (!Array.isArray(segments)) return [];
    const senderName = senderNameOf(node.sender) || textOf(node.nickname) || textOf(node.name);
    // An inner message has no id that anybody could look up.
    return [{ senderName, segments: parseSegments(segments, "") }];
  });
}

function groupTarget(wire: WireRecord): ReplyTarget | undefined {
  const groupId = groupOf(wire.group_id);
  return groupId === undefined ? undefined : { kind: "group", groupId };
}

/** The other person: the sender, or for the bot's own messages the target. */
function privateTarget(wire: WireRecord, senderId: string | undefined): ReplyTarget | undefined {
  const userId = senderId ?? idOf(wire.target_id);
  if (userId === undefined) return undefined;
  // `group` mostly; other servers know other ways to meet somebody who is no friend.
  const subType = textOf(wire.sub_type);
  if (subType === "" || subType === "friend") return { kind: "private", userId };
  const sender = isRecord(wire.sender) ? wire.sender : {};
  const groupId = groupOf(wire.group_id) ?? groupOf(sender.group_id);
  const group = groupId === undefined ? {} : { groupId };
  return { kind: "private", userId, temporary: true, ...group };
}

/** A group by its number; `undefined` for none and for NapCat's stand-in. */
function groupOf(value: unknown): string | undefined {
  const id = idOf(value);
  return id === UNKNOWN_GROUP || id === "0" ? undefined : id;
}

function senderNameOf(sender: unknown): string {
  if (!isRecord(sender)) return "";
  return textOf(sender.card) || textOf(sender.nickname);
}

function senderRoleOf(wire: WireRecord): Pick<IncomingMessage, "senderRole"> {
  const role = wire.message_type === "group" && isRecord(wire.sender) ? wire.sender.role : "";
  return role === "owner" || role === "admin" ? { senderRole: role } : {};
}

/** NapCat sends seconds, or milliseconds when QQ gave it no time. */
function timeMsOf(time: unknown): number | undefined {
  const number = numberOf(time);
  if (number === undefined || number <= 0) return undefined;
  return number > 1e11 ? number : number * 1000;
}

function parseSegments(
  wire: readonly unknown[],
  messageId: string,
  stickers: StickerPolicy = "see",
): readonly Segment[] {
  let images = 0;
  const segments = wire.flatMap((segment): Segment[] => {
    if (!isRecord(segment) || typeof segment.type !== "string") return [];
    const data = isRecord(segment.data) ? segment.data : {};
    switch (segment.type) {
      case "text":
        return [{ type: "text", text: textOf(data.text) }];
      case "at":
        return idOf(data.qq) === undefined ? [] : [{ type: "at", target: idOf(data.qq) as string }];
      case "reply":
        return idOf(data.id) === undefined
          ? []
          : [{ type: "reply", messageId: idOf(data.id) as string }];
      case "image":
      case "mface": {
        const image = parseImage(data, messageId, images++);
        if (stickers === "see" || !isSticker(data)) return [{ type: "image", image }];
        return stickers === "name" ? [{ type: "face", name: stickerName(data) }] : [];
      }
      case "face":
        return [{ type: "face", name: faceName(data) }];
      case "markdown":
        return [{ type: "text", text: textOf(data.content) }];
      case "forward":
        return [
          {
            type: "forward",
            id: idOf(data.id) ?? idOf(data.resid) ?? "",
            content: data.content ?? data.messages,
          },
        ];
      default:
        return [{ type: "other", name: segment.type }];
    }
  });
  return withoutDoubles(segments);
}

function parseImage(data: WireRecord, messageId: string, index: number): ImageReference {
  const file = linkOf(data.file) || textOf(data.file_id);
  const url = linkOf(data.url);
  // Lagrange and others put the link into `file` and the name beside it.
  const swapped = url === "" && /^https?:\/\//iu.test(file);
  return {
    file: swapped ? textOf(data.filename) : file,
    url: swapped ? file : url,
    bytes: numberOf(data.file_size),
    messageId,
    index,
    marketFace: data.emoji_id !== undefined,
  };
}

/** What QQ sends as a sticker: of its shop, or one of the person's own collection. */
function isSticker(data: WireRecord): boolean {
  const subType = numberOf(data.sub_type ?? data.subType) ?? 0;
  return data.emoji_id !== undefined || subType !== 0;
}

/** "[开心]" without its brackets. */
function stickerName(data: WireRecord): string {
  return textOf(data.summary).replace(/^\[(.*)\]$/u, "$1");
}

/** Some servers leave links as they were written in a CQ code, where `&` is a character of its own. */
function linkOf(value: unknown): string {
  const text = textOf(value);
  return /^https?:/iu.test(text) ? text.replaceAll("&amp;", "&") : text;
}

/** QQ's own name of an emoji, such as "/斜眼笑"; without one there is nothing to say. */
function faceName(data: WireRecord): string {
  return isRecord(data.raw) ? textOf(data.raw.faceText).replace(/^\//u, "") : "";
}

/**
 * node-napcat-ts turns CQ strings into segments but cuts every value at its second "=":
 * a download link without a file id means that NapCat sends strings.
 */
function lostItsUrl(segment: Segment): boolean {
  if (segment.type !== "image") return false;
  return /^https?:\/\/[^/]+\/download\?appid(=\d*)?$/u.test(segment.image.url);
}
