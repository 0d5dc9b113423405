// Features of a picture on their way into a decoder: in the place of its tokens' embeddings, with its DeepStack rows beside
// them. Pure.

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

/** Writes the rows of a picture that lie in the run. */
export function placeFeatures(
  { start, features }: PlacedFeatures,
  { tokens, joined = 0, hiddenSize, embeds, deepstack }: TokenRows,
): void {
  const to = Math.max(start, 0); // first token of the run
  const from = to - start; // first row of the features
  const count = Math.min(features.tokens - from, tokens - joined - to);
  const rows = (array: Float32Array, row: number) =>
    array.subarray(row * hiddenSize, (row + count) * hiddenSize);
  embeds.set(rows(features.imageFeatures, from), to * hiddenSize);
  if (deepstack === undefined) return;
  const taps = deepstack.length / (tokens * hiddenSize);
  for (let tap = 0; tap < taps; tap++) {
    const source = rows(features.deepstack, tap * features.tokens + from);
    deepstack.set(source, (tap * tokens + to) * hiddenSize);
  }
}
