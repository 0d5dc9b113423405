// How many weights a decoder has that every token is multiplied with. In: sizes. Out: a number.

import type { Qwen3VlConfig } from "../checkpoint/config.ts";

/** Those that every token is multiplied with, the head included. */
export function decoderWeights({ text }: Qwen3VlConfig): number {
  const { hiddenSize, intermediateSize, heads, kvHeads, headSize, layers, vocabSize } = text;
  const attention = 2 * hiddenSize * (heads + kvHeads) * headSize;
  return layers * (attention + 3 * hiddenSize * intermediateSize) + hiddenSize * vocabSize;
}
