import { describe, expect, it } from "vitest";
import { TimeSlice } from "../../../src/vlm/event-loop/time-slice.ts";
import { resizeBicubic } from "../../../src/vlm/image/bicubic.ts";
import { patchify } from "../../../src/vlm/image/patches.ts";
import { goldenImages, goldenPixels, sha256Of } from "../../support/golden-images.ts";

const layout = {
  patchSize: 16,
  temporalPatchSize: 2,
  mergeSize: 2,
  imageMean: [0.5, 0.5, 0.5],
  imageStd: [0.5, 0.5, 0.5],
} as const;

describe("patchify", () => {
  it.each(goldenImages.cases)(
    "is the fast processor's, bit for bit: seed $seed, $width x $height",
    async (golden) => {
      const [height, width] = golden.resized;
      const resized = await resizeBicubic(goldenPixels(golden), width, height, new TimeSlice());
      const patches = await patchify(resized, layout, new TimeSlice());
      expect(patches.length).toBe(golden.patches_shape[0] * golden.patches_shape[1]);
      expect([...patches.subarray(0, 8)]).toEqual(golden.fast_first8);
      expect([...patches.subarray(1536, 1540)]).toEqual(golden.fast_row1_first4);
      expect([...patches.subarray(3072, 3076)]).toEqual(golden.fast_row2_first4);
      expect(sha256Of(patches)).toBe(golden.fast_patches_f32_sha256);
    },
  );

  it("goes merge block by merge block, and channel, frame, y, x within a patch", async () => {
    // Patches of 1 x 1 in blocks of 2 x 2: the pixel's number in red, 100 and 200 more in green and blue.
    const pixels = Uint8Array.from(
      { length: 2 * 4 * 3 },
      (_, i) => Math.floor(i / 3) + (i % 3) * 100,
    );
    const tiny = {
      ...layout,
      patchSize: 1,
      // (x - 0 * 255) / (1 / 255 * 255) is x.
      imageMean: [0, 0, 0],
      imageStd: [1 / 255, 1 / 255, 1 / 255],
    } as const;
    const patches = await patchify({ width: 4, height: 2, pixels }, tiny, new TimeSlice());
    const rows = Array.from({ length: 8 }, (_, row) => [...patches.subarray(row * 6, row * 6 + 6)]);
    expect(rows.map((row) => Math.round(row[0]!))).toEqual([0, 1, 4, 5, 2, 3, 6, 7]);
    expect(rows[0]!.map(Math.round)).toEqual([0, 0, 100, 100, 200, 200]);
  });

  it("normalises each channel with its own mean and deviation, in fp32", async () => {
    const clip = {
      ...layout,
      patchSize: 1,
      mergeSize: 1,
      temporalPatchSize: 1,
      imageMean: [0.48145466, 0.4578275, 0.40821073],
      imageStd: [0.26862954, 0.26130258, 0.27577711],
    } as const;
    const image = { width: 1, height: 1, pixels: Uint8Array.of(10, 128, 250) };
    const patches = await patchify(image, clip, new TimeSlice());
    const f = Math.fround;
    const expected = [10, 128, 250].map((value, c) =>
      f(f(value - f(f(clip.imageMean[c]!) * 255)) / f(f(clip.imageStd[c]!) * 255)),
    );
    expect([...patches]).toEqual(expected);
  });
});
