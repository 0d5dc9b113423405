import sharp from "sharp";
import { describe, expect, it } from "vitest";
import { COLORS, type ColorName, drawDigits, drawShapes, SHAPES } from "./draw.ts";

async function rgbAt(file: Buffer, x: number, y: number): Promise<string> {
  const { data, info } = await sharp(file).raw().toBuffer({ resolveWithObject: true });
  const at =
    (Math.round(y * (info.height - 1)) * info.width + Math.round(x * (info.width - 1))) *
    info.channels;
  return `#${data.subarray(at, at + 3).toString("hex")}`;
}

describe("drawShapes", () => {
  it("puts each shape into its own part of a row, on light paper", async () => {
    const colors = Object.keys(COLORS) as ColorName[];
    for (const shape of SHAPES) {
      const file = await drawShapes([0, 1, 2].map((i) => ({ shape, color: colors[i]! })));
      for (const i of [0, 1, 2]) {
        expect(await rgbAt(file, (i + 0.5) / 3, 0.5)).toBe(COLORS[colors[i]!]);
      }
      expect(await rgbAt(file, 0, 0)).toBe("#f7f6f2");
    }
  });

  it("keeps to size and format", async () => {
    const file = await drawShapes([{ shape: "star", color: "pink" }], {
      width: 300,
      height: 64,
      format: "webp",
    });
    expect(await sharp(file).metadata()).toMatchObject({ width: 300, height: 64, format: "webp" });
  });
});

describe("drawDigits", () => {
  it("draws each digit differently, dark on light", async () => {
    const files = await Promise.all([..."0123456789"].map((digit) => drawDigits(digit)));
    expect(new Set(files.map((file) => file.toString("base64"))).size).toBe(10);
    for (const file of files) {
      const { channels } = await sharp(file).stats();
      expect(channels[0]!.min).toBeLessThan(60);
      expect(channels[0]!.mean).toBeGreaterThan(150);
    }
  });

  it("takes digits only", async () => {
    await expect(drawDigits("4x")).rejects.toThrow(TypeError);
  });
});
