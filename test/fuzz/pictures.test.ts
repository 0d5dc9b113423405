// Damaged pictures of every format: pixels of the right number, or the error that is meant for it, and never more.

import { readFileSync } from "node:fs";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { ImageDecodeError } from "../../src/vlm/errors.ts";
import { TimeSlice } from "../../src/vlm/event-loop/time-slice.ts";
import { checkImageLimits, decodeImage } from "../../src/vlm/image/decode-image.ts";
import { root } from "../support/book.ts";
import { damaged, holds } from "../support/fuzz.ts";

const limits = checkImageLimits({ maxPixels: 1_000_000 });

describe("a damaged picture", () => {
  it.each([
    "animated.gif",
    "transparent.gif",
    "24-bit.bmp",
    "palette.bmp",
    "one-bit.bmp",
    "animated.webp",
    "lossy.webp",
    "lossless-alpha.webp",
    "animated.png",
    "palette-4-bit.png",
    "progressive.jpg",
    "cmyk.jpg",
  ])("made of %s is decoded or refused", async (file) => {
    const whole = readFileSync(root(`test/goldens/pictures/${file}`));
    await holds(
      fc.asyncProperty(damaged(whole), async (data) => {
        try {
          const image = await decodeImage(data, limits, "white", new TimeSlice());
          expect(image.pixels.length).toBe(image.width * image.height * 3);
          expect(image.width * image.height).toBeLessThanOrEqual(1_000_000);
        } catch (error) {
          expect(error).toBeInstanceOf(ImageDecodeError);
        }
      }),
      40,
    );
  });

  it("that is nothing of the kind is refused", async () => {
    await holds(
      fc.asyncProperty(fc.uint8Array({ maxLength: 400 }), async (data) => {
        await expect(decodeImage(data, limits, "white", new TimeSlice())).rejects.toBeInstanceOf(
          ImageDecodeError,
        );
      }),
      200,
    );
  });
});
