import { describe, expect, it } from "vitest";
import { normalizeNfc } from "../../../src/vlm/text/nfc.ts";

describe("normalizeNfc", () => {
  it.each([
    "",
    "plain",
    "e\u0301",
    "\u0323\u0301a\u0301\u0323",
    "\u1112\u1161\u11ab",
    "\ud800e\u0301\udc00",
    `a${"\u0301\u0323".repeat(32)}`,
  ])("is form C for what people write: %j", (text) => {
    expect(normalizeNfc(text)).toBe(text.normalize("NFC"));
  });

  it("orders the first 64 marks of a run and leaves the rest, losing none", () => {
    const run = `${"\u0301".repeat(70)}${"\u0323".repeat(70)}`;
    const head = `x${"\u0301".repeat(64)}`;
    expect(normalizeNfc(`x${run}e\u0301`)).toBe(`${head}${run.slice(64)}é`);
    const alternating = normalizeNfc(`x${"\u0301\u0323".repeat(50)}`);
    expect(alternating).toBe(
      `x${"\u0323".repeat(32)}${"\u0301".repeat(32)}${"\u0301\u0323".repeat(18)}`,
    );
  });
});
