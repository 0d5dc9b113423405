import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { convertCheckpoint } from "../../../src/vlm/convert/convert.ts";
import { relativeError } from "../../support/float-error.ts";
import {
  GOLDEN_NAMES,
  type GoldenCase,
  goldenCases,
  goldenCheckpoint,
} from "../../support/golden-checkpoint.ts";
import { encodeGoldenPictures, GraphRunner } from "../../support/graph-runner.ts";
import { tempDir } from "../../support/temp-dir.ts";

// Measured on both golden checkpoints, the worse of the two, against the fp32 reference: w8a8 image features 0.017,
// DeepStack 0.018, logits 0.057; q4 logits 0.47. These weights are random noise, the worst case for
// four bits; the trained tiny chat model loses 0.04 (see tiny-chat.test.ts). A CPU whose int8 products saturate
// gives 0.13 and 0.35 where w8a8 should give 0.017 and 0.057.
const LIMITS = {
  w8a8: { features: 0.025, logits: 0.08 },
  q4: { features: 0.025, logits: 0.6 },
} as const;
/** Rows as short as these, 32 weights, have many pairs to cut: 0.026 and 0.062. */
const PAIRED_LIMITS = { features: 0.035, logits: 0.08 };

describe.each(GOLDEN_NAMES)("quantised graphs of %s", (name) => {
  describe.each([
    ["w8a8", "s8"],
    ["w8a8", "s8-paired"],
    ["q4", "s8"],
  ] as const)("in %s (%s)", (precision, int8Weights) => {
    let cases: GoldenCase[];
    let runner: GraphRunner;

    beforeAll(async () => {
      const dir = await tempDir();
      const outputDir = join(dir, "package");
      const checkpointDir = await goldenCheckpoint(name, dir);
      await convertCheckpoint({ checkpointDir, outputDir, precision, int8Weights });
      cases = await goldenCases(name);
      // Paired weights need no setting on any CPU.
      runner = await GraphRunner.open(outputDir, int8Weights === "s8");
    });

    afterAll(() => runner.close());

    it("stays within its error of the reference", async () => {
      const limits = int8Weights === "s8" ? LIMITS[precision] : PAIRED_LIMITS;
      for (const golden of cases) {
        const features = await encodeGoldenPictures(runner, golden);
        if (features !== undefined) {
          expect(relativeError(features.image, golden.imageFeatures)).toBeLessThan(limits.features);
          features.deepstack.forEach((tap, k) => {
            expect(relativeError(tap, golden.deepstack[k] ?? [])).toBeLessThan(limits.features);
          });
        }
        runner.reset(64);
        const positions = golden.positionIds;
        const logits = await runner.decode({ ids: golden.inputIds, positions, features });
        expect(relativeError(logits, golden.logits)).toBeLessThan(limits.logits);
      }
    });
  });
});
