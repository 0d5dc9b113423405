import { describe, expect, it } from "vitest";
import { expectWorthIt, productsMs } from "../../../src/vlm/machine/device-choice.ts";
import type { Device } from "../../../src/vlm/runtime/device.ts";

const taking = (cpu: number, there: number) => async (device: Device) =>
  device === "cpu" ? cpu : there;

describe("WebGPU that nobody named", () => {
  it.each([
    ["is much faster than the CPU", 20, 1],
    ["is nearly as fast", 20, 39],
    ["is a card beside a CPU of very many cores", 0.3, 3],
  ])("is taken where it %s", async (_, cpu, there) => {
    await expectWorthIt("webgpu", taking(cpu, there));
  });

  it("is passed over where it is a driver that computes on the CPU", async () => {
    await expect(expectWorthIt("webgpu", taking(14.2, 811.7))).rejects.toMatchObject({
      name: "ModelLoadError",
      code: "device-unavailable",
      message:
        'The device "webgpu" is slower than the CPU: 812 ms for products that take 14 ms there; ' +
        "it may be a driver that computes on the CPU. Named, it is used all the same.",
    });
  });

  it("is judged by products that any device can compute", async () => {
    expect(await productsMs("cpu")).toBeGreaterThan(0);
  });
});
