import { describe, expect, it } from "vitest";
import { CACHE_FORMATS } from "../../../src/vlm/convert/cached-attention.ts";
import { loadAttention } from "../../../src/vlm/machine/attention-speed.ts";
import { Noise } from "../../../src/vlm/machine/noise.ts";

describe.each(CACHE_FORMATS)("attention over keys and values in %s", (format) => {
  it("has a speed for a token and for a piece of a prompt", async () => {
    const noise = await Noise.make(2 ** 24);
    const attention = await loadAttention(format, { threads: 1, context: 256 });
    const { cache, context, stepMs, chunkMs } = await attention.measure(noise);
    expect({ cache, context }).toEqual({ cache: format, context: 256 });
    expect(stepMs).toBeGreaterThan(0);
    // A piece looks up for 256 tokens.
    expect(chunkMs).toBeGreaterThan(stepMs);
    expect(chunkMs).toBeLessThan(60_000);
    await attention.dispose();
    noise.dispose();
  });
});
