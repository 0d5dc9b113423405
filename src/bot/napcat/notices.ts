// OneBot notices and heartbeats off the wire in, what they mean for a bot out. Tolerant of missing fields.
// It knows nothing of what is done about them.

import type { ChatId } from "../chat/chat-id.ts";
import { idOf, isRecord, numberOf, type WireRecord } from "./wire.ts";

export type Notice =
  /** Somebody took a message back. */
  | { readonly kind: "recall"; readonly chat: ChatId; readonly messageId: string }
  /** Somebody may not speak in a group for a while; `everybody` when the whole group is quiet. */
  | {
      readonly kind: "mute";
      readonly groupId: string;
      readonly who: Member | "everybody";
      /** `Infinity` until it is lifted. */
      readonly durationMs: number;
    }
  | { readonly kind: "unmute"; readonly groupId: string; readonly who: Member | "everybody" }
  /** Somebody is no longer in a group, or the group is no more. */
  | { readonly kind: "left"; readonly groupId: string; readonly who: Member }
  /** The bot was taken into a group, or somebody else was. */
  | { readonly kind: "joined"; readonly groupId: string; readonly who: Member }
  /** The connection is new: notices may have been missed. */
  | { readonly kind: "connected"; readonly selfId: string }
  /** QQ logged the account out, or it is back. */
  | { readonly kind: "offline" | "online" }
  | {
      readonly kind: "poke";
      readonly chat: ChatId;
      readonly selfId: string;
      readonly userId: string;
    }
  /** A friend is typing to the bot. */
  | { readonly kind: "typing"; readonly userId: string };

export interface Member {
  readonly userId: string;
  readonly isBot: boolean;
}

/** Parses a notice or a heartbeat; `undefined` for what does not matter. Never throws. */
export function parseNotice(wire: unknown): Notice | undefined {
  if (!isRecord(wire)) return undefined;
  if (wire.post_type === "meta_event") return parseMeta(wire);
  if (wire.post_type !== "notice") return undefined;
  switch (wire.notice_type) {
    case "group_recall":
    case "friend_recall":
      return parseRecall(wire);
    case "group_ban":
      return parseMute(wire);
    case "group_decrease":
      return memberNotice("left", wire);
    case "group_increase":
      return memberNotice("joined", wire);
    case "bot_offline":
      return { kind: "offline" };
    case "notify":
      return parseNotify(wire);
    default:
      return undefined;
  }
}

function parseMeta(wire: WireRecord): Notice | undefined {
  const selfId = idOf(wire.self_id);
  if (wire.meta_event_type === "lifecycle" && wire.sub_type === "connect" && selfId !== undefined) {
    return { kind: "connected", selfId };
  }
  if (wire.meta_event_type !== "heartbeat" || !isRecord(wire.status)) return undefined;
  if (typeof wire.status.online !== "boolean") return undefined;
  return { kind: wire.status.online ? "online" : "offline" };
}

function parseRecall(wire: WireRecord): Notice | undefined {
  const chat = chatOf(wire);
  const messageId = idOf(wire.message_id);
  if (chat === undefined || messageId === undefined) return undefined;
  return { kind: "recall", chat, messageId };
}

/** NapCat writes the user 0 and a duration of -1 for a whole group. */
function parseMute(wire: WireRecord): Notice | undefined {
  const groupId = idOf(wire.group_id);
  const userId = idOf(wire.user_id) ?? "0";
  if (groupId === undefined) return undefined;
  const who = userId === "0" ? "everybody" : member(userId, wire);
  if (wire.sub_type === "lift_ban") return { kind: "unmute", groupId, who };
  const seconds = numberOf(wire.duration) ?? -1;
  return { kind: "mute", groupId, who, durationMs: seconds < 0 ? Infinity : seconds * 1000 };
}

function memberNotice(kind: "left" | "joined", wire: WireRecord): Notice | undefined {
  const groupId = idOf(wire.group_id);
  const selfId = idOf(wire.self_id) ?? "";
  const aboutBot = wire.sub_type === "kick_me" || wire.sub_type === "disband";
  const userId = aboutBot ? selfId : idOf(wire.user_id);
  if (groupId === undefined || userId === undefined) return undefined;
  return { kind, groupId, who: member(userId, wire) };
}

function parseNotify(wire: WireRecord): Notice | undefined {
  const selfId = idOf(wire.self_id);
  const userId = idOf(wire.user_id);
  if (selfId === undefined || userId === undefined) return undefined;
  if (wire.sub_type === "input_status") return { kind: "typing", userId };
  if (wire.sub_type !== "poke" || idOf(wire.target_id) !== selfId) return undefined;
  const chat = chatOf(wire);
  // In private it is `sender_id` who did it: the bot's own pokes are reported too.
  const poker = idOf(wire.sender_id) ?? userId;
  if (chat === undefined || poker === selfId) return undefined;
  return { kind: "poke", chat, selfId, userId: poker };
}

function chatOf(wire: WireRecord): ChatId | undefined {
  const groupId = idOf(wire.group_id);
  if (groupId !== undefined && groupId !== "0") return { kind: "group", id: groupId };
  const userId = idOf(wire.user_id);
  return userId === undefined ? undefined : { kind: "private", id: userId };
}

function member(userId: string, wire: WireRecord): Member {
  return { userId, isBot: userId === idOf(wire.self_id) };
}
