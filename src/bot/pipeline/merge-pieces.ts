// Several messages of one person in, one message out, as if it had been written in one go.

import type { IncomingMessage, Segment } from "../napcat/events.ts";

/** What one person wrote, oldest first. */
export type Pieces = readonly [IncomingMessage, ...IncomingMessage[]];

const NEW_LINE: Segment = { type: "text", text: "\n" };

/** Everything the pieces hold, in their order; where two of them meet in text, a new line begins. */
export function mergePieces([first, ...rest]: Pieces): IncomingMessage {
  const segments: Segment[] = [...first.segments];
  for (const piece of rest) {
    const meetInText = segments.at(-1)?.type === "text" && piece.segments[0]?.type === "text";
    if (meetInText) segments.push(NEW_LINE);
    segments.push(...piece.segments);
  }
  return { ...first, segments };
}
