// Merged forwards: a message in, the same with the messages it forwards out, as far as they can be had.
// Bounded in depth, messages and look-ups, whatever comes off the wire. It knows nothing of how a prompt is written.

import type { NapCatCalls } from "../napcat/calls.ts";
import {
  type ForwardedMessage,
  type ForwardSegment,
  type IncomingMessage,
  parseForwarded,
  type Segment,
} from "../napcat/events.ts";
import { isRecord } from "../napcat/wire.ts";

/** A forward in a forward in a forward is read, nothing deeper. */
const MAX_DEPTH = 3;
/** Messages read of everything one message forwards. */
const MAX_MESSAGES = 50;
/** Forwards looked up for one message; what came along costs nothing. */
const MAX_LOOKUPS = 3;

interface Budget {
  messages: number;
  lookups: number;
}

/**
 * Looks up what a message forwards. A forward that cannot be had stays as it is.
 *
 * @throws {unknown} `signal.reason` when aborted, and nothing else.
 */
export async function withForwarded(
  message: IncomingMessage,
  calls: NapCatCalls,
  signal?: AbortSignal,
): Promise<IncomingMessage> {
  const budget: Budget = { messages: MAX_MESSAGES, lookups: MAX_LOOKUPS };
  const segments = await resolved(message.segments, MAX_DEPTH, budget, calls, signal);
  return segments === message.segments ? message : { ...message, segments };
}

async function resolved(
  segments: readonly Segment[],
  depth: number,
  budget: Budget,
  calls: NapCatCalls,
  signal: AbortSignal | undefined,
): Promise<readonly Segment[]> {
  if (!segments.some(({ type }) => type === "forward")) return segments;
  const done: Segment[] = [];
  // One after the other: the first forwards get what there is.
  for (const segment of segments) {
    if (segment.type !== "forward") done.push(segment);
    else done.push(await unfolded(segment, depth, budget, calls, signal));
  }
  return done;
}

async function unfolded(
  forward: ForwardSegment,
  depth: number,
  budget: Budget,
  calls: NapCatCalls,
  signal: AbortSignal | undefined,
): Promise<ForwardSegment> {
  if (depth === 0 || budget.messages === 0) return forward;
  const isOuter = depth === MAX_DEPTH;
  const content =
    forward.content ?? (isOuter ? await lookUp(forward.id, budget, calls, signal) : undefined);
  const found = parseForwarded(content, budget.messages);
  if (found.length === 0) return forward;
  budget.messages -= found.length;
  const messages: ForwardedMessage[] = [];
  for (const { senderName, segments } of found) {
    messages.push({
      senderName,
      segments: await resolved(segments, depth - 1, budget, calls, signal),
    });
  }
  return { ...forward, messages };
}

/** The id stays a string: as a number it would lose its last digits. Inner forwards cannot be looked up at all. */
async function lookUp(
  id: string,
  budget: Budget,
  calls: NapCatCalls,
  signal: AbortSignal | undefined,
): Promise<unknown> {
  if (id === "" || budget.lookups === 0) return undefined;
  budget.lookups--;
  try {
    const answer = await calls.call("get_forward_msg", { message_id: id, id }, { signal });
    return isRecord(answer) ? (answer.messages ?? answer.message) : undefined;
  } catch {
    signal?.throwIfAborted();
    return undefined;
  }
}
