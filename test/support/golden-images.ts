// The pictures of goldens/images.json, made again from their seeds.
// In: nothing. Out: each case with its pixels, which the tests compare by SHA-256.

import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import type { RgbImage } from "../../src/vlm/image/rgb-image.ts";

export interface GoldenImage {
  readonly width: number;
  readonly height: number;
  readonly seed: number;
  readonly src_sha256: string;
  /** Height first. */
  readonly resized: readonly [number, number];
  readonly grid: readonly [1, number, number];
  readonly torchvision_u8_sha256: string;
  readonly fast_patches_f32_sha256: string;
  readonly patches_shape: readonly [number, number];
  readonly fast_first8: readonly number[];
  readonly fast_row1_first4: readonly number[];
  readonly fast_row2_first4: readonly number[];
}

export interface GoldenImages {
  readonly min_pixels: number;
  readonly max_pixels: number;
  readonly cases: readonly GoldenImage[];
}

export const goldenImages = JSON.parse(
  readFileSync(new URL("../goldens/images.json", import.meta.url), "utf8"),
) as GoldenImages;

/** The noise of a case. The product passes 2^53, hence Math.imul. */
export function goldenPixels({ width, height, seed }: GoldenImage): RgbImage {
  const pixels = new Uint8Array(height * width * 3); // (height, width, 3)
  let state = seed;
  for (let i = 0; i < pixels.length; i++) {
    state = (Math.imul(state, 1_103_515_245) + 12_345) & 0x7fff_ffff;
    pixels[i] = (state >> 16) & 255;
  }
  return { width, height, pixels };
}

/** SHA-256 of the bytes behind a typed array. */
export function sha256Of(array: Uint8Array | Float32Array): string {
  const bytes = new Uint8Array(array.buffer, array.byteOffset, array.byteLength);
  return createHash("sha256").update(bytes).digest("hex");
}
