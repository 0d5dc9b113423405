// What a self-check of a device computes, on the CPU: it holds there, and a wrong precision is found.

import { describe, expect, it } from "vitest";
import { goldenErrors } from "../../../src/vlm/proof/golden-errors.ts";
import { toleranceOf } from "../../../src/vlm/proof/tolerances.ts";
import { tempDir } from "../../support/temp-dir.ts";

const run = async (decoder: "fp32" | "q4") =>
  goldenErrors({
    name: "tiny-tied",
    device: "cpu",
    precision: { decoder, vision: "fp32" },
    directory: await tempDir(),
    cases: ["odd_grid"],
    chunks: [7],
  });

describe("the errors of a golden case", () => {
  it("are within the tolerance where the computation is right", async () => {
    const errors = await run("fp32");
    expect(toleranceOf("cpu", "fp32").holds(errors)).toBe(true);
    expect(errors).toMatchObject({ steps: 6, sameTokens: 6, fromCpu: undefined });
    expect(errors.largest).toBeGreaterThan(0);
  });

  it("are beyond it where weights are others", async () => {
    const errors = await run("q4");
    expect(toleranceOf("cpu", "fp32").holds(errors)).toBe(false);
    expect(errors.relative).toBeGreaterThan(0.1);
  });
});
