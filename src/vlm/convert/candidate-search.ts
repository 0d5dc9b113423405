// The likeliest tokens of a step, found on the device: only they go over the bus. In: logits in a graph. Out: operators that
// name the largest. Sampling knows whether they suffice.

import type { OnnxModel } from "./onnx-model.ts";

/** That come with each row of logits. */
export const CANDIDATES = 64;
/** Into which the vocabulary is cut: one search over all of it keeps a card waiting. */
const SEARCH_PARTS = 128;

/**
 * Adds the outputs `top_scores` and `top_ids`, (R, k), to a graph: the largest logits of each part of the vocabulary first,
 * then of what is left, where it can be cut evenly.
 *
 * @param logits (R, vocabulary)
 */
export function searchCandidates(model: OnnxModel, logits: string, vocabSize: number): void {
  const count = Math.min(CANDIDATES, vocabSize);
  const part = vocabSize / SEARCH_PARTS;
  if (!Number.isInteger(part) || part < 4 * count) {
    topK(model, "top", logits, count, ["top_scores", "top_ids"]);
    return;
  }
  const cut = model.constant("search_cut", "i64", [3], [-1, SEARCH_PARTS, part]);
  const parts = model.node("Reshape", "search.parts", [logits, cut]);
  topK(model, "search.first", parts, count, ["search.scores", "search.places"]);
  const firsts = Array.from({ length: SEARCH_PARTS }, (_, index) => index * part);
  const offsets = model.constant("search_offsets", "i64", [1, SEARCH_PARTS, 1], firsts);
  const ids = model.node("Add", "search.ids", ["search.places", offsets]);
  const join = model.constant("search_join", "i64", [2], [-1, SEARCH_PARTS * count]);
  const scores = model.node("Reshape", "search.joined_scores", ["search.scores", join]);
  const joined = model.node("Reshape", "search.joined_ids", [ids, join]);
  topK(model, "search.last", scores, count, ["top_scores", "search.order"]);
  model.node("GatherElements", "top_ids", [joined, "search.order"], { axis: { int: 1 } });
}

function topK(
  model: OnnxModel,
  name: string,
  values: string,
  count: number,
  outputs: readonly [string, string],
): void {
  const k = model.constant("candidates", "i64", [1], [count]);
  model.nodeWithOutputs({
    name,
    domain: "",
    op: "TopK",
    inputs: [values, k],
    outputs,
    attributes: { axis: { int: -1 }, largest: { int: 1 }, sorted: { int: 1 } },
  });
}
