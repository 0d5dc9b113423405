// A piece of a prompt and the next tokens of other sequences as the input of one run: theirs come last, in the order of
// their lanes. Pure.

import type { NamedValues } from "../runtime/session.ts";
import type { DecodeRow, DecoderInput } from "./decoder-backend.ts";
import type { BoundLanes, BoundRows } from "./lane-slots.ts";

/** Ids and positions of the tokens of a run. */
export function joinedTokens(
  { ids, positions }: DecoderInput,
  rows: readonly DecodeRow[],
  { lanes, lengths }: Pick<BoundLanes, "lanes" | "lengths">,
): DecoderInput {
  const own = ids.length;
  const tokens = own + lengths.length;
  const all = new Int32Array(tokens);
  all.set(ids);
  const places = new Int32Array(3 * tokens); // (3, tokens)
  for (let axis = 0; axis < 3; axis++) {
    places.set(positions.subarray(axis * own, (axis + 1) * own), axis * tokens);
    // A lane of nobody computes along.
    places.set(lengths, axis * tokens + own);
  }
  for (const [index, { id, position }] of rows.entries()) {
    const token = own + lanes[index]!;
    all[token] = id;
    for (let axis = 0; axis < 3; axis++) places[axis * tokens + token] = position;
  }
  return { ids: all, positions: places };
}

/** Keys and values of those who join the run of another, by the names that the graph has for them. */
export function joinedRows({ past, present }: BoundRows): BoundRows {
  const named = (values: NamedValues, from: string, to: string) =>
    Object.fromEntries(
      Object.entries(values).map(([name, value]) => [to + name.slice(from.length), value]),
    );
  return {
    past: named(past, "past_key_values.", "joined_key_values."),
    present: named(present, "present.", "joined_present."),
  };
}
