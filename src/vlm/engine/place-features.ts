// Features of a picture on their way into a decoder: in the place of its tokens' embeddings, with its DeepStack rows beside
// them. Tens of megabytes are copied in slices.

import { TimeSlice } from "../event-loop/time-slice.ts";
import type { PlacedFeatures } from "./decoder-backend.ts";

/** What one run is given of its S tokens. */
export interface TokenRows {
  readonly tokens: number;
  /** So many of the last belong to others. @default 0 */
  readonly joined?: number;
  readonly hiddenSize: number;
  /** (S, hidden) */
  readonly embeds: Float32Array;
  /** (taps, S, hidden); left out where the decoder takes none. */
  readonly deepstack?: Float32Array | undefined;
}

/** Values copied between two looks at the clock: half a millisecond, pages of new memory included. */
const PIECE = 2 ** 17;

/**
 * Writes the rows of pictures that lie in the run.
 *
 * @throws the signal's reason when it is aborted meanwhile
 */
export async function placeFeatures(
  pictures: readonly PlacedFeatures[],
  rows: TokenRows,
  signal?: AbortSignal,
): Promise<void> {
  const slice = new TimeSlice(signal);
  for (const picture of pictures) await place(picture, rows, slice);
}

async function place(
  { start, features }: PlacedFeatures,
  { tokens, joined = 0, hiddenSize, embeds, deepstack }: TokenRows,
  slice: TimeSlice,
): Promise<void> {
  const to = Math.max(start, 0); // first token of the run
  const from = to - start; // first row of the features
  const values = hiddenSize * Math.min(features.tokens - from, tokens - joined - to);
  const copy = async (source: Float32Array, row: number, target: Float32Array, toRow: number) => {
    const [first, toFirst] = [row * hiddenSize, toRow * hiddenSize];
    for (let done = 0; done < values; done += PIECE) {
      if (slice.over) await slice.rest();
      const end = Math.min(done + PIECE, values);
      target.set(source.subarray(first + done, first + end), toFirst + done);
    }
  };
  await copy(features.imageFeatures, from, embeds, to);
  if (deepstack === undefined) return;
  const taps = deepstack.length / (tokens * hiddenSize);
  for (let tap = 0; tap < taps; tap++) {
    await copy(features.deepstack, tap * features.tokens + from, deepstack, tap * tokens + to);
  }
}
