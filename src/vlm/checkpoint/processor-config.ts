// preprocessor_config.json or processor_config.json: how pictures become patches. Out: pixel limits, patch
// sizes and normalisation. Knows no pixels; settings this project does not implement are refused.

import { ModelLoadError } from "../errors.ts";
import { JsonFields } from "./json-fields.ts";

/** What image preprocessing needs from the checkpoint. */
export interface ImageProcessorConfig {
  /** Smallest area after resizing, in pixels. */
  readonly minPixels: number;
  /** Largest area after resizing, in pixels. */
  readonly maxPixels: number;
  readonly patchSize: number;
  readonly temporalPatchSize: number;
  readonly mergeSize: number;
  /** Per channel, of values between 0 and 1. */
  readonly imageMean: readonly [number, number, number];
  readonly imageStd: readonly [number, number, number];
}

export interface ProcessorFiles {
  /** Parsed preprocessor_config.json. */
  readonly preprocessor?: unknown;
  /** Parsed processor_config.json; transformers 5 nests the image part in it. */
  readonly processor?: unknown;
}

const DEFAULT_MIN_PIXELS = 65_536;
const DEFAULT_MAX_PIXELS = 16_777_216;
const BICUBIC = 3;

/**
 * Reads the image part of the processor files; `processor_config.json` goes first, as in transformers 5.
 *
 * @throws ModelLoadError `model-unsupported` for another kind of preprocessing, `model-corrupt` for wrong values
 */
export function parseImageProcessorConfig(files: ProcessorFiles): ImageProcessorConfig {
  const fields = imageFields(files);
  refuseOtherSteps(fields);
  // `shortest_edge` and `longest_edge` are areas here, whatever their names say.
  const size = fields.objectOrUndefined("size");
  const minPixels = fields.integer(
    "min_pixels",
    1,
    size?.integer("shortest_edge", 1, DEFAULT_MIN_PIXELS) ?? DEFAULT_MIN_PIXELS,
  );
  const maxPixels = fields.integer(
    "max_pixels",
    1,
    size?.integer("longest_edge", 1, DEFAULT_MAX_PIXELS) ?? DEFAULT_MAX_PIXELS,
  );
  if (minPixels > maxPixels) {
    throw new ModelLoadError(
      "model-corrupt",
      `Expected the pixel limits of ${fields.where} to be min <= max, got ${minPixels} and ${maxPixels}.`,
    );
  }
  return {
    minPixels,
    maxPixels,
    patchSize: fields.integer("patch_size", 1, 16),
    temporalPatchSize: fields.integer("temporal_patch_size", 1, 2),
    mergeSize: fields.integer("merge_size", 1, 2),
    imageMean: perChannel(fields, "image_mean", {}),
    imageStd: perChannel(fields, "image_std", { above: 0 }),
  };
}

function imageFields(files: ProcessorFiles): JsonFields {
  const nested =
    files.processor === undefined
      ? undefined
      : new JsonFields(files.processor, "processor_config.json").objectOrUndefined(
          "image_processor",
        );
  return nested ?? new JsonFields(files.preprocessor ?? {}, "preprocessor_config.json");
}

/** Absent keys mean the class defaults: resize, rescale by 1/255 and normalise, bicubic. */
function refuseOtherSteps(fields: JsonFields): void {
  for (const step of ["do_resize", "do_rescale", "do_normalize", "do_convert_rgb"]) {
    if (!fields.boolean(step, true)) throw unsupported(fields, `${step} false`);
  }
  const resample = fields.number("resample", {}, BICUBIC);
  if (resample !== BICUBIC) throw unsupported(fields, `resample ${resample} (only bicubic, 3)`);
  const factor = fields.number("rescale_factor", {}, 1 / 255);
  if (Math.abs(factor * 255 - 1) > 1e-6) throw unsupported(fields, `rescale_factor ${factor}`);
}

function perChannel(
  fields: JsonFields,
  name: string,
  range: { above?: number },
): [number, number, number] {
  const [r, g, b, ...more] = fields.has(name) ? fields.numbers(name, range) : [0.5, 0.5, 0.5];
  if (r === undefined || g === undefined || b === undefined || more.length > 0) {
    throw fields.wrong(name, "three numbers");
  }
  return [r, g, b];
}

function unsupported(fields: JsonFields, what: string): ModelLoadError {
  return new ModelLoadError(
    "model-unsupported",
    `${fields.where} asks for ${what}, which is not implemented.`,
  );
}
