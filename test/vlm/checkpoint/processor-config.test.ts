import { describe, expect, it } from "vitest";
import { parseImageProcessorConfig } from "../../../src/vlm/checkpoint/processor-config.ts";

const PUBLISHED = {
  size: { longest_edge: 16777216, shortest_edge: 65536 },
  patch_size: 16,
  temporal_patch_size: 2,
  merge_size: 2,
  image_mean: [0.5, 0.5, 0.5],
  image_std: [0.5, 0.5, 0.5],
  processor_class: "Qwen3VLProcessor",
  image_processor_type: "Qwen2VLImageProcessorFast",
};

describe("parseImageProcessorConfig", () => {
  it("reads `size` as areas", () => {
    expect(parseImageProcessorConfig({ preprocessor: PUBLISHED })).toEqual({
      minPixels: 65536,
      maxPixels: 16777216,
      patchSize: 16,
      temporalPatchSize: 2,
      mergeSize: 2,
      imageMean: [0.5, 0.5, 0.5],
      imageStd: [0.5, 0.5, 0.5],
    });
  });

  it("lets the older spelling override `size`", () => {
    const preprocessor = { ...PUBLISHED, min_pixels: 4096, max_pixels: 102400 };
    const config = parseImageProcessorConfig({ preprocessor });
    expect([config.minPixels, config.maxPixels]).toEqual([4096, 102400]);
  });

  it("prefers the image part of processor_config.json, as transformers 5 does", () => {
    const nested = { ...PUBLISHED, size: { longest_edge: 999999, shortest_edge: 1024 } };
    const explicit = { do_resize: true, do_rescale: true, resample: 3, rescale_factor: 1 / 255 };
    const processor = { image_processor: { ...nested, ...explicit }, processor_class: "x" };
    const both = parseImageProcessorConfig({ preprocessor: PUBLISHED, processor });
    expect([both.minPixels, both.maxPixels]).toEqual([1024, 999999]);
    const onlyClass = { processor: { processor_class: "x" }, preprocessor: PUBLISHED };
    expect(parseImageProcessorConfig(onlyClass).minPixels).toBe(65536);
  });

  it("uses the shipped values where a file says nothing", () => {
    expect(parseImageProcessorConfig({ preprocessor: {} })).toEqual(
      parseImageProcessorConfig({ preprocessor: PUBLISHED }),
    );
  });

  it.each([
    [{ do_normalize: false }, "do_normalize false"],
    [{ resample: 2 }, "resample 2"],
    [{ rescale_factor: 1 }, "rescale_factor 1"],
    [{ min_pixels: 10, max_pixels: 5 }, "min <= max"],
    [{ image_mean: [0.5] }, "three numbers"],
    [{ image_std: [0.5, 0, 0.5] }, "image_std"],
    [{ size: { shortest_edge: -1 } }, "Expected size.shortest_edge of preprocessor_config.json"],
  ])("refuses %j", (change, words) => {
    const preprocessor = { ...PUBLISHED, ...change };
    expect(() => parseImageProcessorConfig({ preprocessor })).toThrow(words);
  });
});
