import { describe, expect, it } from "vitest";
import { TimeSlice } from "../../../src/vlm/event-loop/time-slice.ts";
import { axisWeights, resizeBicubic } from "../../../src/vlm/image/bicubic.ts";
import { goldenImages, goldenPixels, sha256Of } from "../../support/golden-images.ts";

describe("resizeBicubic", () => {
  it.each(goldenImages.cases)(
    "is torchvision's, bit for bit: seed $seed, $width x $height",
    async (golden) => {
      const source = goldenPixels(golden);
      expect(sha256Of(source.pixels)).toBe(golden.src_sha256);
      const [height, width] = golden.resized;
      const resized = await resizeBicubic(source, width, height, new TimeSlice());
      expect(sha256Of(resized.pixels)).toBe(golden.torchvision_u8_sha256);
    },
  );

  it("leaves a picture of the right size alone", async () => {
    const image = { width: 2, height: 1, pixels: Uint8Array.of(1, 2, 3, 4, 5, 6) };
    expect(await resizeBicubic(image, 2, 1, new TimeSlice())).toBe(image);
  });

  it("keeps one colour exactly, larger and smaller", async () => {
    const pixels = new Uint8Array(33 * 41 * 3).fill(201);
    for (const [width, height] of [
      [96, 96],
      [7, 5],
    ] as const) {
      const resized = await resizeBicubic(
        { width: 33, height: 41, pixels },
        width,
        height,
        new TimeSlice(),
      );
      expect(new Set(resized.pixels)).toEqual(new Set([201]));
    }
  });

  it("spreads a single pixel over the whole picture", async () => {
    const image = { width: 1, height: 1, pixels: Uint8Array.of(9, 99, 199) };
    const resized = await resizeBicubic(image, 32, 32, new TimeSlice());
    expect(resized.pixels).toEqual(
      Uint8Array.from({ length: 3072 }, (_, i) => [9, 99, 199][i % 3]!),
    );
  });

  it("handles widths whose bytes are no multiple of four", async () => {
    // The vertical pass goes four columns a turn; 5 pixels are 15 columns.
    const image = goldenPixels({ ...goldenImages.cases[0]!, width: 5, height: 40 });
    const narrow = await resizeBicubic(image, 5, 16, new TimeSlice());
    const padded = new Uint8Array(40 * 8 * 3);
    for (let row = 0; row < 40; row++) {
      padded.set(image.pixels.subarray(row * 15, row * 15 + 15), row * 24);
    }
    const wide = await resizeBicubic(
      { width: 8, height: 40, pixels: padded },
      8,
      16,
      new TimeSlice(),
    );
    for (let row = 0; row < 16; row++) {
      expect(narrow.pixels.subarray(row * 15, row * 15 + 15)).toEqual(
        wide.pixels.subarray(row * 24, row * 24 + 15),
      );
    }
  });

  it("lets others run, and stops when it is told to", async () => {
    const stop = new AbortController();
    const image = { width: 3000, height: 2000, pixels: new Uint8Array(18_000_000) };
    const resizing = resizeBicubic(image, 640, 416, new TimeSlice(stop.signal));
    setImmediate(() => stop.abort(new Error("enough")));
    await expect(resizing).rejects.toThrow("enough");
  });
});

describe("axisWeights", () => {
  it("sums to one, whatever the scale", () => {
    for (const [inputs, outputs] of [
      [1, 32],
      [100, 64],
      [4000, 31],
      [65_536, 32],
      [37, 320],
    ] as const) {
      const { starts, counts, weights, taps, precision } = axisWeights(inputs, outputs);
      for (let output = 0; output < outputs; output++) {
        const count = counts[output]!;
        const own = weights.subarray(output * taps, output * taps + count);
        const sum = own.reduce((total, weight) => total + weight, 0);
        // Each weight is rounded on its own.
        expect(Math.abs(sum - 2 ** precision)).toBeLessThanOrEqual(count / 2 + 1);
        expect(starts[output]! >= 0 && starts[output]! + count <= inputs).toBe(true);
      }
    }
  });
});
