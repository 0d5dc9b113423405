import { readFileSync } from "node:fs";
import sharp from "sharp";
import { describe, expect, it } from "vitest";
import { ImageDecodeError } from "../../../src/vlm/errors.ts";
import { TimeSlice } from "../../../src/vlm/event-loop/time-slice.ts";
import { checkImageLimits, decodeImage } from "../../../src/vlm/image/decode-image.ts";
import type { AlphaMode, RgbImage } from "../../../src/vlm/image/rgb-image.ts";
import { writeBmp } from "../../support/bmp.ts";
import { drawShapes } from "../../support/draw.ts";
import { sha256Of } from "../../support/golden-images.ts";
import { writeFlatPng, writePng, writePngClaiming } from "../../support/png.ts";

interface Expected {
  readonly files: Readonly<
    Record<string, { width: number; height: number; rgb: string; white?: string }>
  >;
}

const folder = new URL("../../goldens/pictures/", import.meta.url);
const golden = JSON.parse(readFileSync(new URL("expected.json", folder), "utf8")) as Expected;
const picture = (name: string) => readFileSync(new URL(name, folder));

function decode(data: Uint8Array, alpha: AlphaMode = "white", limits = {}): Promise<RgbImage> {
  return decodeImage(data, checkImageLimits(limits), alpha, new TimeSlice());
}

async function failure(data: Uint8Array, limits = {}): Promise<ImageDecodeError> {
  const error: unknown = await decode(data, "white", limits).then(
    () => new Error("it was decoded"),
    (reason: unknown) => reason,
  );
  if (error instanceof ImageDecodeError) return error;
  throw error;
}

describe("decodeImage", () => {
  // libvips makes what is transparent in a GIF black; the colour under it is lost, so `drop` cannot show it.
  const opaque = Object.keys(golden.files).filter((name) => name !== "transparent.gif");

  it.each(opaque)("has Pillow's pixels of %s", async (name) => {
    const expected = golden.files[name]!;
    const image = await decode(picture(name), "drop");
    expect([image.width, image.height]).toEqual([expected.width, expected.height]);
    expect(sha256Of(image.pixels)).toBe(expected.rgb);
  });

  it.each(Object.keys(golden.files).filter((name) => golden.files[name]!.white))(
    "lays %s over white as the vendor's helper does",
    async (name) => {
      const image = await decode(picture(name), "white");
      expect(sha256Of(image.pixels)).toBe(golden.files[name]!.white);
    },
  );

  it("turns each of the eight orientations in its own way", async () => {
    const turned = await Promise.all(
      [1, 2, 3, 4, 5, 6, 7, 8].map((n) => decode(picture(`orientation-${n}.jpg`))),
    );
    expect(turned.map(({ width }) => width)).toEqual([37, 37, 37, 37, 22, 22, 22, 22]);
    expect(new Set(turned.map(({ pixels }) => sha256Of(pixels))).size).toBe(8);
  });

  it("keeps the upper 8 of 16 bits, grey or in colour", async () => {
    const grey = writePng({
      width: 3,
      height: 1,
      color: "grey",
      bitDepth: 16,
      samples: [0, 40_000, 65_535],
    });
    expect([...(await decode(grey)).pixels]).toEqual([0, 0, 0, 156, 156, 156, 255, 255, 255]);
    const rgb = writePng({
      width: 1,
      height: 1,
      color: "rgb",
      bitDepth: 16,
      samples: [256, 40_000, 65_535],
    });
    expect([...(await decode(rgb)).pixels]).toEqual([1, 156, 255]);
  });

  it("lays 16-bit alpha over white too, or drops it", async () => {
    const samples = [10, 20, 30, 0, 10, 20, 30, 128].map((value) => value * 257);
    const data = writePng({ width: 2, height: 1, color: "rgba", bitDepth: 16, samples });
    expect([...(await decode(data)).pixels]).toEqual([255, 255, 255, 132, 137, 142]);
    expect([...(await decode(data, "drop")).pixels]).toEqual([10, 20, 30, 10, 20, 30]);
  });

  it("reads avif", async () => {
    const data = await sharp({
      create: { width: 20, height: 10, channels: 3, background: "#ff0000" },
    })
      .avif({ lossless: true })
      .toBuffer();
    const { width, height, pixels } = await decode(data);
    expect([width, height, pixels[0]! > 250, pixels[1]! < 5]).toEqual([20, 10, true, true]);
  });

  it("ignores colour profiles, as the reference does", async () => {
    const flat = { create: { width: 4, height: 4, channels: 3, background: "#c86432" } } as const;
    const tagged = await sharp(flat).keepIccProfile().withIccProfile("p3").png().toBuffer();
    const untagged = await sharp(tagged, { ignoreIcc: true }).png().toBuffer();
    expect((await sharp(tagged).metadata()).hasProfile).toBe(true);
    expect((await decode(tagged)).pixels).toEqual((await decode(untagged)).pixels);
  });

  it("goes by the first bytes, not by anybody's word", async () => {
    // A GIF is a GIF, whatever NapCat's file name ended with.
    const gif = await drawShapes([{ shape: "circle", color: "red" }], { format: "gif" });
    expect((await decode(gif)).width).toBe(96);
  });

  it("reads a single pixel and a line of 4000", async () => {
    expect([...(await decode(writeFlatPng(1, 1, 77))).pixels]).toEqual([77, 77, 77]);
    const line = await decode(writeFlatPng(1, 4000));
    expect([line.width, line.height, line.pixels.length]).toEqual([1, 4000, 12_000]);
  });

  it("reads bytes in the middle of a larger buffer", async () => {
    const file = picture("rgb.png");
    const larger = Buffer.concat([Buffer.alloc(13, 7), file, Buffer.alloc(5, 7)]);
    const image = await decode(new Uint8Array(larger.buffer, larger.byteOffset + 13, file.length));
    expect(sha256Of(image.pixels)).toBe(golden.files["rgb.png"]!.rgb);
  });

  describe("refuses before decoding", () => {
    it("16000 x 16000 pixels of one colour in a small file", async () => {
      const bomb = writeFlatPng(16_000, 16_000);
      expect(bomb.length).toBeLessThan(2_000_000);
      const error = await failure(bomb);
      expect(error).toMatchObject({
        code: "image-too-large",
        mediaType: "image/png",
        pixels: 256_000_000,
        maxPixels: 50_000_000,
      });
      expect(error.message).toContain("16000 x 16000");
    });

    it.each([
      ["PNG", writePngClaiming(2_000_000_000, 2_000_000_000)],
      ["PNG with one endless row", writePngClaiming(40_000_000, 1)],
      ["BMP", writeBmp({ width: 30_000, height: 30_000, bitsPerPixel: 1, pixels: [] })],
      [
        "BMP with runs",
        writeBmp({
          width: 2 ** 31 - 1,
          height: -(2 ** 31),
          bitsPerPixel: 8,
          compression: 1,
          pixels: [0, 1],
        }),
      ],
      [
        "GIF",
        Buffer.concat([
          Buffer.from("GIF89a"),
          Buffer.of(255, 255, 255, 255, 0, 0, 0),
          Buffer.of(0x2c, 0, 0, 0, 0, 255, 255, 255, 255, 0, 2, 2, 0x4c, 1, 0, 0x3b),
        ]),
      ],
    ])("a %s that claims to be huge", async (_, data) => {
      expect(await failure(data)).toMatchObject({
        code: expect.stringMatching(/too-large|corrupt/),
      });
    });

    it("more pixels or bytes than it is told to take", async () => {
      const file = picture("rgb.png");
      expect(await failure(file, { maxPixels: 813 })).toMatchObject({
        code: "image-too-large",
        pixels: 814,
        maxPixels: 813,
      });
      expect((await decode(file, "white", { maxPixels: 814 })).width).toBe(37);
      expect(await failure(file, { maxFileBytes: file.length - 1 })).toMatchObject({
        code: "image-too-large",
        mediaType: "image/png",
      });
      expect((await decode(file, "white", { maxFileBytes: file.length })).width).toBe(37);
    });

    it.each([
      [
        "image/svg+xml",
        Buffer.from('<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"/>'),
      ],
      ["image/heic", Buffer.from("\0\0\0\x18ftypheic\0\0\0\0mif1heic", "latin1")],
      ["text/html", Buffer.from("<!doctype html><title>403</title>")],
      ["application/json", Buffer.from('{"retcode":-5503007}')],
      ["image/tiff", Buffer.from("II*\0\x08\0\0\0", "latin1")],
      [undefined, Buffer.from("nothing that anybody knows")],
    ])("%s", async (mediaType, data) => {
      const error = await failure(data);
      expect(error).toMatchObject({ code: "image-unsupported", mediaType });
      expect(error.message).toMatch(/Send jpeg, png, gif, webp, avif or bmp\.$/);
    });

    it("no bytes at all", async () => {
      expect(await failure(new Uint8Array())).toMatchObject({ code: "image-corrupt" });
    });
  });

  describe("a file that ends too early", () => {
    const draw = (format: "jpeg" | "png" | "webp" | "gif") =>
      drawShapes([{ shape: "star", color: "blue" }], { format, width: 200, height: 160 });

    it.each(["jpeg", "png", "webp", "gif"] as const)("is corrupt: half a %s", async (format) => {
      const whole = await draw(format);
      expect(await failure(whole.subarray(0, whole.length >> 1))).toMatchObject({
        code: "image-corrupt",
        mediaType: `image/${format}`,
      });
    });

    it("is corrupt when only the end of a jpeg's pixels is missing, or all of them", async () => {
      const whole = await draw("jpeg");
      expect(await failure(whole.subarray(0, -20))).toMatchObject({ code: "image-corrupt" });
      expect(await failure(whole.subarray(0, 100))).toMatchObject({ code: "image-corrupt" });
    });

    it("is whole all the same when only the end marker of a jpeg is missing", async () => {
      const whole = await draw("jpeg");
      const image = await decode(whole.subarray(0, -2));
      expect(image.pixels).toEqual((await decode(whole)).pixels);
    });

    it("never crashes, wherever it is cut", async () => {
      for (const name of [
        "progressive.jpg",
        "palette-4-bit.png",
        "animated.gif",
        "lossy.webp",
        "grey.bmp",
      ]) {
        const whole = picture(name);
        for (let length = 1; length < whole.length; length += 97) {
          const outcome = await decode(whole.subarray(0, length)).then(
            (image) => image.pixels.length,
            (reason: unknown) => (reason instanceof ImageDecodeError ? reason.code : reason),
          );
          expect([37 * 22 * 3, "image-corrupt", "image-unsupported"]).toContain(outcome);
        }
      }
    });
  });

  it("says nothing of the content in its messages", async () => {
    const secret = "c2VjcmV0LXBpY3R1cmU";
    for (const data of [
      Buffer.from(`{"image":"${secret}"}`),
      Buffer.from(secret),
      Buffer.concat([Buffer.from("\x89PNG\r\n\x1a\n", "latin1"), Buffer.from(secret.repeat(20))]),
    ]) {
      expect((await failure(data)).message).not.toContain(secret.slice(0, 8));
    }
  });
});

describe("checkImageLimits", () => {
  it("fills in what is left out", () => {
    expect(checkImageLimits({ maxPixels: 5 })).toEqual({
      maxFileBytes: 20_971_520,
      maxPixels: 5,
      maxConcurrent: 2,
    });
  });

  it("says what it expected and what it got", () => {
    expect(() => checkImageLimits({ maxPixels: 0 })).toThrow(
      "Expected `limits.maxPixels` to be an integer >= 1, got `0` (number)",
    );
    expect(() => checkImageLimits({ maxFileBytes: 1.5 })).toThrow("`limits.maxFileBytes`");
    expect(() => checkImageLimits({ maxPixel: 5 } as object)).toThrow("`limits.maxPixel`");
  });
});
