import { describe, expect, it } from "vitest";
import { CACHE_FORMATS } from "../../../src/vlm/convert/cached-attention.ts";
import { measureAttention } from "../../../src/vlm/machine/attention-speed.ts";

describe.each(CACHE_FORMATS)("attention over keys and values in %s", (format) => {
  it("has a speed for a token and for a piece of a prompt", async () => {
    const { cache, context, stepMs, chunkMs } = await measureAttention(format, { threads: 1 }, 256);
    expect({ cache, context }).toEqual({ cache: format, context: 256 });
    expect(stepMs).toBeGreaterThan(0);
    // A piece looks up for 256 tokens.
    expect(chunkMs).toBeGreaterThan(stepMs);
    expect(chunkMs).toBeLessThan(60_000);
  });
});
