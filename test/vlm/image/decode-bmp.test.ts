import { describe, expect, it } from "vitest";
import { isVlmError } from "../../../src/vlm/errors.ts";
import { TimeSlice } from "../../../src/vlm/event-loop/time-slice.ts";
import { readBmpHeader } from "../../../src/vlm/image/bmp-header.ts";
import { decodeBmp } from "../../../src/vlm/image/decode-bmp.ts";
import { type BmpParts, writeBmp } from "../../support/bmp.ts";

async function pixelsOf(parts: BmpParts, alpha: "white" | "drop" = "white"): Promise<number[]> {
  const { pixels, width, height } = await decodeBmp(writeBmp(parts), alpha, new TimeSlice());
  expect([width, height]).toEqual([parts.width, Math.abs(parts.height)]);
  return [...pixels];
}

/** What a promise is rejected with; the code of our errors. */
async function codeOf(promise: Promise<unknown>): Promise<string> {
  const error = await promise.then(
    () => new Error("it worked"),
    (reason: unknown) => reason,
  );
  return isVlmError(error) ? error.code : String(error);
}

const RED_GREEN = [0, 0, 255, 0, 0, 255, 0, 0];

describe("decodeBmp", () => {
  it("reads rows from the last to the first, and from the first with a negative height", async () => {
    const pixels = [3, 2, 1, 0, 6, 5, 4, 0];
    expect(await pixelsOf({ width: 1, height: 2, bitsPerPixel: 24, pixels })).toEqual([
      4, 5, 6, 1, 2, 3,
    ]);
    expect(await pixelsOf({ width: 1, height: -2, bitsPerPixel: 24, pixels })).toEqual([
      1, 2, 3, 4, 5, 6,
    ]);
  });

  it("reads 1, 4 and 8 bits through the palette", async () => {
    const palette = RED_GREEN;
    const expected = [0, 255, 0, 255, 0, 0, 0, 255, 0];
    const picture = { width: 3, height: 1, palette };
    expect(await pixelsOf({ ...picture, bitsPerPixel: 1, pixels: [0b10100000, 0, 0, 0] })).toEqual(
      expected,
    );
    expect(await pixelsOf({ ...picture, bitsPerPixel: 4, pixels: [0x10, 0x10, 0, 0] })).toEqual(
      expected,
    );
    expect(await pixelsOf({ ...picture, bitsPerPixel: 8, pixels: [1, 0, 1, 0] })).toEqual(expected);
  });

  it("shows colours beyond the palette as black", async () => {
    const parts = {
      width: 2,
      height: 1,
      bitsPerPixel: 8,
      palette: RED_GREEN,
      pixels: [0, 200, 0, 0],
    };
    expect(await pixelsOf(parts)).toEqual([255, 0, 0, 0, 0, 0]);
  });

  it("reads OS/2 headers with their three-byte palettes", async () => {
    const parts = {
      headerBytes: 12,
      width: 2,
      height: 1,
      bitsPerPixel: 1,
      palette: [0, 0, 255, 0, 255, 0],
      pixels: [0b01000000, 0, 0, 0],
    };
    expect(await pixelsOf(parts)).toEqual([255, 0, 0, 0, 255, 0]);
  });

  it("reads 16 bits as 5-5-5, or as the masks say", async () => {
    const picture = { width: 2, height: 1, bitsPerPixel: 16 };
    expect(await pixelsOf({ ...picture, pixels: [0x00, 0x7c, 0x1f, 0x00] })).toEqual([
      255, 0, 0, 0, 0, 255,
    ]);
    const masks = [0xf800, 0x07e0, 0x001f];
    expect(
      await pixelsOf({ ...picture, compression: 3, masks, pixels: [0xe0, 0x07, 0x10, 0x84] }),
    ).toEqual([0, 255, 0, 131, 129, 131]);
  });

  it("lays 32 bits with an alpha mask over white, or drops alpha", async () => {
    const parts = {
      headerBytes: 56,
      compression: 3,
      masks: [0xff0000, 0xff00, 0xff, 0xff000000],
      width: 2,
      height: 1,
      bitsPerPixel: 32,
      pixels: [30, 20, 10, 0, 30, 20, 10, 128],
    };
    expect(await pixelsOf(parts)).toEqual([255, 255, 255, 132, 137, 142]);
    expect(await pixelsOf(parts, "drop")).toEqual([10, 20, 30, 10, 20, 30]);
  });

  it("takes an alpha channel of nothing but zeros for an opaque picture", async () => {
    const parts = {
      headerBytes: 56,
      compression: 3,
      masks: [0xff0000, 0xff00, 0xff, 0xff000000],
      width: 1,
      height: 1,
      bitsPerPixel: 32,
      pixels: [30, 20, 10, 0],
    };
    expect(await pixelsOf(parts)).toEqual([10, 20, 30]);
  });

  it("ignores the fourth byte where no mask says that it is alpha", async () => {
    const parts = { width: 1, height: 1, bitsPerPixel: 32, pixels: [30, 20, 10, 7] };
    expect(await pixelsOf(parts)).toEqual([10, 20, 30]);
  });

  it("reads 8-bit runs, single colours, jumps and early ends", async () => {
    const parts = {
      width: 4,
      height: 2,
      bitsPerPixel: 8,
      compression: 1,
      palette: [0, 0, 0, 0, 0, 0, 9, 0, 0, 0, 8, 0],
      // bottom row: two of 1, then 1 2 (absolute, padded is 3: 1,2,2); end of line; jump one right; 2; end
      pixels: [1, 1, 0, 3, 1, 2, 2, 0, 0, 0, 0, 2, 1, 0, 1, 2, 0, 1],
    };
    const red = (row: number[]) => row.flatMap((value) => [value, 0, 0]);
    expect(await pixelsOf(parts)).toEqual([...red([0, 8, 0, 0]), ...red([9, 9, 8, 8])]);
  });

  it("reads 4-bit runs, which take turns between two colours", async () => {
    const parts = {
      width: 5,
      height: 1,
      bitsPerPixel: 4,
      compression: 2,
      palette: [0, 0, 0, 0, 0, 0, 9, 0, 0, 0, 8, 0],
      pixels: [3, 0x12, 0, 2, 0, 0, 2, 0x22, 0, 1],
    };
    // Three of 1-2-1, a jump of nothing, two of 2.
    expect(await pixelsOf(parts)).toEqual([9, 8, 9, 8, 8].flatMap((value) => [value, 0, 0]));
  });

  it("does not write outside a picture whose runs are too long", async () => {
    const parts = {
      width: 2,
      height: 1,
      bitsPerPixel: 8,
      compression: 1,
      palette: [0, 0, 0, 0, 0, 0, 9, 0],
      pixels: [255, 1, 0, 2, 255, 255, 9, 1, 0, 1],
    };
    expect(await pixelsOf(parts)).toEqual([9, 0, 0, 9, 0, 0]);
  });

  it.each([
    ["rows are missing", { width: 4, height: 4, bitsPerPixel: 24, pixels: [1, 2, 3] }],
    ["the runs stop", { width: 4, height: 4, bitsPerPixel: 8, compression: 1, pixels: [2] }],
    ["it has no height", { width: 4, height: 0, bitsPerPixel: 24, pixels: [] }],
    ["its width is negative", { width: -4, height: 1, bitsPerPixel: 24, pixels: [1] }],
  ] satisfies [string, BmpParts][])("calls it corrupt when %s", async (_, parts) => {
    expect(await codeOf(decodeBmp(writeBmp(parts), "white", new TimeSlice()))).toBe(
      "image-corrupt",
    );
  });

  it.each([
    [
      "a JPEG inside",
      { width: 1, height: 1, bitsPerPixel: 24, compression: 4, pixels: [0, 0, 0, 0] },
    ],
    ["two bits a pixel", { width: 1, height: 1, bitsPerPixel: 2, pixels: [0, 0, 0, 0] }],
    ["runs of 24 bits", { width: 1, height: 1, bitsPerPixel: 24, compression: 1, pixels: [0, 1] }],
  ] satisfies [string, BmpParts][])("does not support %s, and says so", async (_, parts) => {
    expect(await codeOf(decodeBmp(writeBmp(parts), "white", new TimeSlice()))).toBe(
      "image-unsupported",
    );
  });

  it("survives every cut of a file, and every header byte gone wrong", async () => {
    const whole = writeBmp({
      headerBytes: 56,
      compression: 3,
      masks: [0xff0000, 0xff00, 0xff, 0xff000000],
      width: 3,
      height: 2,
      bitsPerPixel: 32,
      pixels: Array.from({ length: 24 }, (_, i) => i * 10),
    });
    const wrong: Buffer[] = [];
    for (let length = 0; length < whole.length; length++) wrong.push(whole.subarray(0, length));
    for (let at = 10; at < 70; at++) {
      for (const value of [0, 1, 12, 127, 128, 255]) {
        const changed = Buffer.from(whole);
        changed[at] = value;
        wrong.push(changed);
      }
    }
    for (const data of wrong) {
      // The size is the business of decodeImage, which looks before it decodes.
      const header = await codeOf(Promise.resolve().then(() => readBmpHeader(data)));
      if (header !== "Error: it worked") {
        expect(header).toMatch(/^image-(?:corrupt|unsupported)$/);
        continue;
      }
      const { width, height } = readBmpHeader(data);
      if (width * height > 1e6) continue;
      const code = await codeOf(decodeBmp(data, "white", new TimeSlice()));
      expect(code).toMatch(/^(?:Error: it worked|image-(?:corrupt|unsupported))$/);
    }
  });
});
