// The message that was quoted: a message with a reply segment in, the quoted one out, or nothing.
// Quotes get lost, recalled and forgotten by NapCat: every failure is soft, and none takes longer than a deadline.

import type { NapCatCalls } from "../napcat/calls.ts";
import { type IncomingMessage, parseMessageEvent } from "../napcat/events.ts";
import { isRecord, wireId } from "../napcat/wire.ts";
import { quotedId } from "../triggers/trigger.ts";
import { chatKey } from "./chat-id.ts";

/** A quote of a quote is looked up too; deeper ones are not. */
const MAX_DEPTH = 2;

/** `lost`: something was quoted, and nobody knows what any more. */
export type QuotedMessage =
  | { readonly kind: "found"; readonly message: IncomingMessage; readonly quoted: QuotedMessage }
  | { readonly kind: "lost" }
  | { readonly kind: "none" };

/**
 * Looks up what a message quotes, and what that quotes in turn.
 *
 * @throws {unknown} `signal.reason` when aborted, and nothing else.
 */
export async function lookUpQuote(
  message: IncomingMessage,
  calls: NapCatCalls,
  signal?: AbortSignal,
  depth = MAX_DEPTH,
): Promise<QuotedMessage> {
  const id = quotedId(message);
  if (id === undefined || depth === 0) return { kind: "none" };
  const found = await getMessage(id, message, calls, signal);
  if (found === undefined) return { kind: "lost" };
  return {
    kind: "found",
    message: found,
    quoted: await lookUpQuote(found, calls, signal, depth - 1),
  };
}

async function getMessage(
  id: string,
  asking: IncomingMessage,
  calls: NapCatCalls,
  signal: AbortSignal | undefined,
): Promise<IncomingMessage | undefined> {
  try {
    const answer = await calls.call("get_msg", { message_id: wireId(id) }, { signal });
    if (!isRecord(answer)) return undefined;
    const parsed = parseMessageEvent({ ...missingFields(id, asking, answer), ...answer });
    if (parsed.kind !== "message") return undefined;
    // An id can be made up: what was said in another chat stays there.
    const sameChat = chatKey(parsed.message.chat) === chatKey(asking.chat);
    return sameChat ? parsed.message : undefined;
  } catch {
    signal?.throwIfAborted();
    return undefined;
  }
}

/** Other implementations leave out of the answer what the asker knows anyway. */
function missingFields(id: string, asking: IncomingMessage, answer: Record<string, unknown>) {
  const sender = isRecord(answer.sender) ? answer.sender : {};
  return {
    message_id: id,
    message_type: asking.chat.kind,
    self_id: asking.selfId,
    user_id: sender.user_id,
    ...(asking.chat.kind === "group" ? { group_id: asking.chat.id } : {}),
    target_id: asking.chat.id,
  };
}
