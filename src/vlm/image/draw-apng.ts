// Draws the frames of an animated PNG one over the other. In: frames. Out: the whole picture after each of them.

import type { TimeSlice } from "../event-loop/time-slice.ts";
import type { ApngFrame } from "./apng.ts";
import type { AlphaMode, RgbImage } from "./rgb-image.ts";
import { loadSharp } from "./sharp.ts";

/** A picture with opacity. Drawn on further: copy what is to be kept. */
export interface Canvas {
  readonly width: number;
  readonly height: number;
  /** (height, width, 4) */
  readonly rgba: Uint8Array;
}

/**
 * The picture after each frame.
 *
 * @throws what the decoder says of a damaged frame, or the reason of the slice's signal.
 */
export async function* drawApng(
  frames: readonly ApngFrame[],
  slice: TimeSlice,
): AsyncGenerator<Canvas> {
  const sharp = await loadSharp();
  const [first] = frames;
  if (!first) return;
  const { canvasWidth: width, canvasHeight: height } = first;
  let rgba: Uint8Array = new Uint8Array(width * height * 4);
  for (const frame of frames) {
    const before = frame.dispose === "previous" ? rgba.slice() : undefined;
    const pixels = await sharp(frame.file).toColourspace("srgb").ensureAlpha().raw().toBuffer();
    for (let row = 0; row < frame.height; row++) {
      if (slice.over) await slice.rest();
      const from = row * frame.width * 4;
      const to = ((frame.y + row) * width + frame.x) * 4;
      drawRow(pixels.subarray(from, from + frame.width * 4), rgba, to, frame.over);
    }
    yield { width, height, rgba };
    if (before) rgba = before;
    if (frame.dispose === "background") {
      for (let row = frame.y; row < frame.y + frame.height; row++) {
        const start = (row * width + frame.x) * 4;
        rgba.fill(0, start, start + frame.width * 4);
      }
    }
  }
}

function drawRow(from: Uint8Array, rgba: Uint8Array, to: number, over: boolean): void {
  if (!over) {
    rgba.set(from, to);
    return;
  }
  for (let i = 0; i < from.length; i += 4, to += 4) {
    const top = from[i + 3]!;
    if (top === 0) continue;
    const below = (rgba[to + 3]! * (255 - top)) / 255;
    const opacity = top + below;
    for (let channel = 0; channel < 3; channel++) {
      rgba[to + channel] = Math.round(
        (from[i + channel]! * top + rgba[to + channel]! * below) / opacity,
      );
    }
    rgba[to + 3] = Math.round(opacity);
  }
}

/** Over white paper, or with the colours that lie under what is transparent. */
export function toRgb({ width, height, rgba }: Canvas, alpha: AlphaMode): RgbImage {
  const pixels = new Uint8Array(width * height * 3);
  for (let pixel = 0; pixel < width * height; pixel++) {
    const opacity = alpha === "drop" ? 255 : rgba[pixel * 4 + 3]!;
    for (let channel = 0; channel < 3; channel++) {
      const light = rgba[pixel * 4 + channel]!;
      pixels[pixel * 3 + channel] = Math.round((light * opacity + 255 * (255 - opacity)) / 255);
    }
  }
  return { width, height, pixels };
}
