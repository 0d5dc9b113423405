import { describe, expect, it } from "vitest";
import { contextsThatFit, defaultCacheBytes } from "../../../src/vlm/engine/memory-share.ts";

const GIB = 2 ** 30;

describe("contextsThatFit", () => {
  it("gives contexts a quarter of the free memory, 4 at least and 8 at most", () => {
    expect(contextsThatFit(GIB, 24 * GIB)).toBe(6);
    expect(contextsThatFit(GIB, 200 * GIB)).toBe(8);
    expect(contextsThatFit(GIB, 8 * GIB)).toBe(4);
  });

  it("gives fewer when 4 would not fit at all", () => {
    expect(contextsThatFit(8 * GIB, 24 * GIB)).toBe(3);
    expect(contextsThatFit(8 * GIB, 4 * GIB)).toBe(1);
  });
});

describe("defaultCacheBytes", () => {
  it("is a share of the free memory, within bounds", () => {
    expect(defaultCacheBytes(GIB)).toEqual({ features: GIB / 32, prefixes: GIB / 8 });
    expect(defaultCacheBytes(100 * GIB)).toEqual({ features: GIB / 4, prefixes: 2 * GIB });
  });
});
