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
import { encodeGoldenPictures, GraphRunner } from "../../support/graph-runner.ts";
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
      const features = await encodeGoldenPictures(runner, golden);
      if (features === undefined) throw new Error("Expected pictures.");
      expect(largestDifference(features.image, golden.imageFeatures)).toBeLessThan(ATOL);
      expect(features.deepstack).toHaveLength(golden.deepstack.length);
      features.deepstack.forEach((tap, k) => {
        expect(largestDifference(tap, golden.deepstack[k] ?? [])).toBeLessThan(ATOL);
      });
    }
  });

  it("gives the reference's logits at every prompt position", async () => {
    for (const golden of cases) {
      const features = await encodeGoldenPictures(runner, golden);
      runner.reset(64);
      const positions = golden.positionIds;
      const logits = await runner.decode({ ids: golden.inputIds, positions, features });
      expect(largestDifference(logits, golden.logits)).toBeLessThan(ATOL);
    }
  });

  it("gives the reference's logits at each decode step", async () => {
    for (const golden of cases) {
      const features = await encodeGoldenPictures(runner, golden);
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
