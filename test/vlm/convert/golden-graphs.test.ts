import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { convertCheckpoint } from "../../../src/vlm/convert/convert.ts";
import { largestDifference } from "../../support/float-error.ts";
import {
  GOLDEN_NAMES,
  type GoldenCase,
  type GoldenName,
  goldenCases,
  goldenCheckpoint,
} from "../../support/golden-checkpoint.ts";
import { type Features, GraphRunner } from "../../support/graph-runner.ts";
import { tempDir } from "../../support/temp-dir.ts";

/** What a correct fp32 graph reaches against the reference, by the specification. */
const ATOL = 1e-4;

describe.each(GOLDEN_NAMES)("fp32 graphs of %s", (name: GoldenName) => {
  let cases: GoldenCase[];
  let runner: GraphRunner;

  beforeAll(async () => {
    const dir = await tempDir();
    const outputDir = join(dir, "package");
    const checkpointDir = await goldenCheckpoint(name, dir);
    await convertCheckpoint({ checkpointDir, outputDir, precision: "fp32" });
    cases = await goldenCases(name);
    runner = await GraphRunner.open(outputDir);
  });

  afterAll(() => runner.close());

  it("has five cases to compare with", () => {
    expect(cases.map(({ name }) => name)).toEqual([
      "text",
      "one_image",
      "two_images",
      "image_first",
      "odd_grid",
    ]);
  });

  it("encodes every picture as the reference does, DeepStack included", async () => {
    for (const golden of cases.filter(({ grids }) => grids.length > 0)) {
      const features = await encodeAll(runner, golden);
      expect(largestDifference(features.image, golden.imageFeatures)).toBeLessThan(ATOL);
      expect(features.deepstack).toHaveLength(golden.deepstack.length);
      features.deepstack.forEach((tap, k) => {
        expect(largestDifference(tap, golden.deepstack[k] ?? [])).toBeLessThan(ATOL);
      });
    }
  });

  it("gives the reference's logits at every prompt position", async () => {
    for (const golden of cases) {
      const features = golden.grids.length > 0 ? await encodeAll(runner, golden) : undefined;
      runner.reset(64);
      const positions = golden.positionIds;
      const logits = await runner.decode({ ids: golden.inputIds, positions, features });
      expect(largestDifference(logits, golden.logits)).toBeLessThan(ATOL);
    }
  });

  it("gives the reference's logits at each decode step", async () => {
    for (const golden of cases) {
      const features = golden.grids.length > 0 ? await encodeAll(runner, golden) : undefined;
      runner.reset(64);
      await runner.decode({ ids: golden.inputIds, positions: golden.positionIds, features });
      for (const [step, expected] of golden.decodeLogits.entries()) {
        const position = golden.inputIds.length + step + golden.ropeDelta;
        const id = golden.greedyTokens[step] ?? 0;
        const logits = await runner.decode({
          ids: [id],
          positions: [[position], [position], [position]],
        });
        expect(largestDifference(logits, expected)).toBeLessThan(ATOL);
      }
    }
  });
});

/** Pictures one by one, as the engine does, then joined as the golden file has them. */
async function encodeAll(runner: GraphRunner, golden: GoldenCase): Promise<Features> {
  const parts: Features[] = [];
  let start = 0;
  for (const [, height, width] of golden.grids) {
    const length = height * width * 1536;
    const pixels = golden.pixelValues.slice(start, start + length);
    parts.push(await runner.encode(pixels, height, width));
    start += length;
  }
  return {
    image: join32(parts.map(({ image }) => image)),
    deepstack: golden.deepstack.map((_, k) =>
      join32(parts.map(({ deepstack }) => deepstack[k] ?? new Float32Array(0))),
    ),
  };
}

function join32(parts: readonly Float32Array[]): Float32Array {
  return Float32Array.from(parts.flatMap((part) => [...part]));
}
