import { describe, expect, it } from "vitest";
import { saturationProbe } from "../../../src/vlm/convert/saturation-probe.ts";
import { withCpuSettings } from "../../../src/vlm/engine/cpu-settings.ts";
import { Session } from "../../../src/vlm/runtime/session.ts";
import { Value } from "../../../src/vlm/runtime/value.ts";

describe("withCpuSettings", () => {
  it("makes the largest int8 products exact on this CPU, whichever it is", async () => {
    const { model, input, inputByte, output, exact } = saturationProbe();
    await using session = await Session.load(model, await withCpuSettings({ threads: 1 }));
    const products = new Float32Array(output.shape[1]); // (1, columns)
    await session.run(
      { [input.name]: Value.of(new Uint8Array(input.shape[1]).fill(inputByte), input.shape) },
      { [output.name]: Value.of(products, output.shape) },
    );
    expect([...products]).toEqual(Array(products.length).fill(exact));
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
