import { describe, expect, it } from "vitest";
import { preferredInt8Weights, withCpuSettings } from "../../../src/vlm/engine/cpu-settings.ts";
import { measureProducts } from "../../../src/vlm/machine/product-speed.ts";

describe.each(["w8a8", "q4", "fp32"] as const)("products in %s", (precision) => {
  it("have a speed for one row, a few and many", async () => {
    const settings = await withCpuSettings({ threads: 1 });
    const int8Weights = await preferredInt8Weights();
    const speeds = await measureProducts(precision, { ...settings, int8Weights });
    expect(speeds.map(({ rows }) => rows).slice(0, 5)).toEqual([1, 2, 4, 8, 64]);
    for (const { gigaOps, gigaBytes } of speeds) {
      expect(gigaOps).toBeGreaterThan(0);
      expect(gigaOps).toBeLessThan(1e6);
      expect(gigaBytes).toBeGreaterThan(0);
      expect(gigaBytes).toBeLessThan(1e6);
    }
  });
});
