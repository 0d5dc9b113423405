import { describe, expect, it } from "vitest";
import { preferredInt8Weights, withCpuSettings } from "../../../src/vlm/engine/cpu-settings.ts";
import { Noise } from "../../../src/vlm/machine/noise.ts";
import { loadProducts, PRODUCT_BYTES } from "../../../src/vlm/machine/product-speed.ts";

describe.each(["w8a8", "q4", "fp32"] as const)("products in %s", (precision) => {
  it("have a speed for one row, a few and many", async () => {
    const settings = await withCpuSettings({ threads: 1 });
    const int8Weights = await preferredInt8Weights();
    const noise = await Noise.make(PRODUCT_BYTES + 2 ** 20);
    const products = await loadProducts(precision, { ...settings, int8Weights, noise });
    const speeds = await products.measure(noise);
    expect(speeds.map(({ rows }) => rows).slice(0, 5)).toEqual([1, 2, 4, 8, 64]);
    for (const speed of speeds) {
      expect(speed.precision).toBe(precision);
      expect(speed.gigaOps).toBeGreaterThan(0);
      expect(speed.gigaOps).toBeLessThan(1e6);
      expect(speed.gigaBytes).toBeGreaterThan(0);
      expect(speed.gigaBytes).toBeLessThan(1e6);
    }
    await products.dispose();
    noise.dispose();
  });
});
