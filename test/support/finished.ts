// How a model ends when nothing was special: what tests with streams of their own yield last.

import type { FinishPart } from "../../src/vlm/vision-language-model.ts";

export const FINISHED: FinishPart = {
  type: "finish",
  finishReason: "stop",
  usage: {
    promptTokens: 1,
    imageTokens: 0,
    completionTokens: 1,
    reasoningTokens: 0,
    droppedTurns: 0,
  },
  timings: { queueMs: 0, imageMs: 0, visionMs: 0, prefillMs: 0, decodeMs: 0, totalMs: 0 },
  cache: { imageHits: 0, imageMisses: 0 },
};
