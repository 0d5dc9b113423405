import { describe, expect, it } from "vitest";
import { mropeAxis, mropeCosSin, visionCosSin } from "../../../src/vlm/engine/rotary.ts";

const SECTION = [24, 20, 20] as const;

describe("mropeAxis", () => {
  it("interleaves time, height and width and leaves the last frequencies to time", () => {
    const axes = Array.from({ length: 64 }, (_, j) => mropeAxis(j, SECTION));
    // Written out: twenty times t h w, then four t. No stored logit tells a wrong cut-off apart.
    expect(axes.join("")).toBe(`${"012".repeat(20)}0000`);
  });

  it("cuts height and width off separately", () => {
    const axes = Array.from({ length: 12 }, (_, j) => mropeAxis(j, [7, 2, 3]));
    expect(axes.join("")).toBe("012012002000");
  });
});

describe("mropeCosSin", () => {
  const config = { headSize: 128, ropeTheta: 5e6, mropeSection: SECTION };

  it("turns each frequency by the position of its own axis", () => {
    const { cos, sin } = mropeCosSin(Int32Array.of(3, 70, 5, 71, 7, 72), config); // (3, 2)
    for (const [token, positions] of [
      [0, [3, 5, 7]],
      [1, [70, 71, 72]],
    ] as const) {
      for (let j = 0; j < 64; j++) {
        const angle = positions[mropeAxis(j, SECTION)] * 5e6 ** (-j / 64);
        expect(cos[token * 64 + j]).toBeCloseTo(Math.cos(angle), 4);
        expect(sin[token * 64 + j]).toBeCloseTo(Math.sin(angle), 4);
      }
    }
  });

  it("forms angles as fp32 products, also at large positions", () => {
    const position = 100_003;
    const { cos } = mropeCosSin(Int32Array.of(position, position, position), config);
    const frequency = Math.fround(1 / Math.fround(5e6 ** Math.fround(1 / 64)));
    const angle = Math.fround(frequency * position);
    expect(cos[1]).toBe(Math.fround(Math.cos(angle)));
    expect(cos[1]).not.toBeCloseTo(Math.cos(position * 5e6 ** (-1 / 64)), 4);
  });

  it("rounds powers, frequencies and angles to fp32, each of them", () => {
    const position = 4095;
    const { cos, sin } = mropeCosSin(Int32Array.of(position, position, position), config);
    for (let j = 0; j < 64; j++) {
      const angle = fp32Angle(5e6, j / 64, position);
      expect([cos[j], sin[j]]).toEqual([
        Math.fround(Math.cos(angle)),
        Math.fround(Math.sin(angle)),
      ]);
    }
  });

  it("is the identity at position zero and takes no tokens", () => {
    const { cos, sin } = mropeCosSin(new Int32Array(3), config);
    expect([...cos].every((value) => value === 1)).toBe(true);
    expect([...sin].every((value) => value === 0)).toBe(true);
    expect(mropeCosSin(new Int32Array(0), config).cos).toHaveLength(0);
  });

  it("refuses positions that are not three rows", () => {
    expect(() => mropeCosSin(new Int32Array(4), config)).toThrow("(3, S)");
  });
});

describe("visionCosSin", () => {
  it("turns the first quarter of a head by the row and the second by the column", () => {
    const config = { headSize: 72, mergeSize: 2, ropeTheta: 10_000 };
    const { cos, sin } = visionCosSin(4, 6, config); // (24, 36)
    expect(cos).toHaveLength(24 * 36);
    // Patch 6 is the third of the second block of the first block row: row 1, column 2.
    for (let j = 0; j < 18; j++) {
      const frequency = 10_000 ** (-j / 18);
      expect(cos[6 * 36 + j]).toBeCloseTo(Math.cos(1 * frequency), 6);
      expect(sin[6 * 36 + 18 + j]).toBeCloseTo(Math.sin(2 * frequency), 6);
    }
  });

  it("rounds powers, frequencies and angles to fp32, each of them", () => {
    const config = { headSize: 72, mergeSize: 2, ropeTheta: 10_000 };
    const { cos, sin } = visionCosSin(2, 120, config); // (240, 36)
    // The last patch: row 1, column 119.
    for (let j = 0; j < 18; j++) {
      const angle = fp32Angle(1e4, j / 18, 119);
      const at = 239 * 36 + 18 + j;
      expect([cos[at], sin[at]]).toEqual([
        Math.fround(Math.cos(angle)),
        Math.fround(Math.sin(angle)),
      ]);
    }
  });
});

/** As torch computes it: every step in fp32. */
function fp32Angle(theta: number, exponent: number, position: number): number {
  const power = Math.fround(theta ** Math.fround(exponent));
  return Math.fround(Math.fround(1 / power) * position);
}
