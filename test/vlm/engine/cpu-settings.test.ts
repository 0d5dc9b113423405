import { describe, expect, it } from "vitest";
import { saturationProbe } from "../../../src/vlm/convert/saturation-probe.ts";
import { preferredInt8Weights, withCpuSettings } from "../../../src/vlm/engine/cpu-settings.ts";
import { Session } from "../../../src/vlm/runtime/session.ts";
import { Value } from "../../../src/vlm/runtime/value.ts";

describe("withCpuSettings", () => {
  it.each([
    ["full-range", "s8"],
    ["paired", "s8-paired"],
  ] as const)(
    "makes the largest %s products exact on this CPU, whichever it is",
    async (kind, form) => {
      const { model, input, inputByte, output, exact } = saturationProbe(kind);
      const options = await withCpuSettings({ threads: 1 }, form);
      await using session = await Session.load(model, options);
      const products = new Float32Array(output.shape[1]); // (1, columns)
      await session.run(
        { [input.name]: Value.of(new Uint8Array(input.shape[1]).fill(inputByte), input.shape) },
        { [output.name]: Value.of(products, output.shape) },
      );
      expect([...products]).toEqual(Array(products.length).fill(exact));
    },
  );

  it("sets nothing for weights that need no telling", async () => {
    expect(await withCpuSettings({ threads: 2 }, "u8")).toEqual({ threads: 2 });
    const preferred = await preferredInt8Weights();
    expect(await withCpuSettings({ threads: 2 }, preferred)).toEqual({ threads: 2 });
  });

  it("keeps the caller's own options", async () => {
    const options = await withCpuSettings({
      threads: 2,
      configEntries: { "session.x64quantprecision": "0", "session.set_denormal_as_zero": "1" },
    });
    expect(options).toMatchObject({
      threads: 2,
      configEntries: { "session.x64quantprecision": "0", "session.set_denormal_as_zero": "1" },
    });
  });
});
