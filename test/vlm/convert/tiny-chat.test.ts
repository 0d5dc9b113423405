import { join } from "node:path";
import { beforeAll, describe, expect, it } from "vitest";
import { convertCheckpoint } from "../../../src/vlm/convert/convert.ts";
import type { Precision } from "../../../src/vlm/convert/linear-layers.ts";
import { relativeError } from "../../support/float-error.ts";
import { gaussians } from "../../support/gaussians.ts";
import { TINY_CHAT } from "../../support/golden-checkpoint.ts";
import { type Features, GraphRunner } from "../../support/graph-runner.ts";
import { tempDir } from "../../support/temp-dir.ts";

const GRID = 8;
const [VISION_START, IMAGE_PAD, VISION_END] = [1673, 1676, 1674];

interface Answer {
  readonly features: Features;
  /** (tokens, vocabulary) */
  readonly logits: Float32Array;
}

/** One picture between a few words, from the real converter. */
async function answer(dir: string, precision: Precision): Promise<Answer> {
  const outputDir = join(dir, precision);
  await convertCheckpoint({ checkpointDir: TINY_CHAT, outputDir, precision });
  const runner = await GraphRunner.open(outputDir);
  const pixels = gaussians(GRID * GRID * 1536, 1).map((value) => Math.tanh(value));
  const features = await runner.encode(pixels, GRID, GRID);
  const pictureTokens = new Array<number>((GRID * GRID) / 4).fill(IMAGE_PAD);
  const ids = [1665, 100, 10, VISION_START, ...pictureTokens, VISION_END, 30, 40, 1666];
  const position = (i: number) => [i, i, i];
  const positions = ids.map((_, i) => position(i));
  runner.reset(64);
  const logits = await runner.decode({
    ids,
    positions: [0, 1, 2].map((axis) => positions.map((three) => three[axis] ?? 0)),
    features,
  });
  await runner.close();
  return { features, logits };
}

describe("the tiny chat model, a trained one", () => {
  let dir: string;
  let reference: Answer;
  beforeAll(async () => {
    dir = await tempDir();
    reference = await answer(dir, "fp32");
  });

  // Measured: image features 0.044, DeepStack 0.026, logits 0.018 (w8a8) and 0.041 (q4), on a picture of noise.
  it.each([
    ["w8a8", 0.06, 0.03],
    ["q4", 0.06, 0.07],
  ] as const)("loses little in %s", async (precision, featureLimit, logitLimit) => {
    const { features, logits } = await answer(dir, precision);
    expect(relativeError(features.image, reference.features.image)).toBeLessThan(featureLimit);
    features.deepstack.forEach((tap, k) => {
      const expected = reference.features.deepstack[k] ?? [];
      expect(relativeError(tap, expected)).toBeLessThan(featureLimit);
    });
    expect(relativeError(logits, reference.logits)).toBeLessThan(logitLimit);
  });
});
