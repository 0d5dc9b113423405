// The computing parts of a package that another program made, on the CPU. In: such a package. Out: parts for the loop, which
// are the same to it as those of our own, and what is worse about them.

import type { ForeignPackage } from "../foreign/foreign-package.ts";
import { allOrFailure } from "./all-or-failure.ts";
import { EmbeddingGraph } from "./embedding-graph.ts";
import { ForeignVisionEncoder } from "./foreign-vision-encoder.ts";
import { GrowingDecoder } from "./growing-decoder.ts";
import type { Backend, BackendOptions } from "./load-backend.ts";
import { contextsThatFit, defaultCacheBytes } from "./memory-share.ts";

/** @throws ModelLoadError */
export async function loadForeign(
  { directory, name, layout, graphs, config }: ForeignPackage,
  { session, contextTokens, maxConcurrent, onPart, onMade }: BackendOptions,
): Promise<Backend> {
  const made = <T extends { dispose(): Promise<void> }>(part: T): T => {
    onMade(() => part.dispose());
    return part;
  };
  onPart("vision-encoder");
  onPart("decoder");
  const [visionEncoder, decoder] = await allOrFailure(
    ForeignVisionEncoder.load(directory, graphs.vision, config, session).then(made),
    EmbeddingGraph.load(directory, graphs.embedding, config, session)
      .then(made)
      .then((embedding) =>
        GrowingDecoder.load(directory, graphs.decoder, config, embedding, session),
      )
      .then(made),
  );
  const count = maxConcurrent ?? contextsThatFit(contextTokens * decoder.tokenBytes);
  const slots = decoder.createSlots(count, contextTokens);
  onMade(() => slots.dispose());
  const isWhole = visionEncoder.hasDeepstack && decoder.hasDeepstack;
  return {
    visionEncoder,
    decoder,
    slots,
    cacheBytes: defaultCacheBytes(),
    mostTokens: decoder.mostTokens,
    warnings: isWhole ? [] : [noDeepstack(name, layout)],
  };
}

/**
 * Does a package have DeepStack? Opens its graphs, one after the other.
 *
 * @throws ModelLoadError
 */
export async function hasDeepstack(model: ForeignPackage): Promise<boolean> {
  const { directory, graphs, config } = model;
  const eyes = await ForeignVisionEncoder.load(directory, graphs.vision, config, {});
  await eyes.dispose();
  const embedding = await EmbeddingGraph.load(directory, graphs.embedding, config, {});
  try {
    const decoder = await GrowingDecoder.load(directory, graphs.decoder, config, embedding, {});
    await decoder.dispose();
    return eyes.hasDeepstack && decoder.hasDeepstack;
  } finally {
    await embedding.dispose();
  }
}

function noDeepstack(name: string, layout: string): string {
  return (
    `DEEPSTACK IS MISSING from ${name}: this package (${layout} layout) was exported without it. Through DeepStack ` +
    "Qwen3-VL sees details; without it small print, numbers and places are read much worse (OCRBench of the 2B: 75.6 % " +
    "instead of 85.7 %). Use the safetensors checkpoint it was made from: the conversion here keeps DeepStack."
  );
}
