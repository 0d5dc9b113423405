// The frames of an animated GIF, WebP or PNG. In: the bytes of a file. Out: how long each frame is shown, small copies of
// all, and single frames in full. It chooses none of them.

import type { TimeSlice } from "../event-loop/time-slice.ts";
import { type ApngFrame, readApng } from "./apng.ts";
import { decodeImage, type ImageLimits } from "./decode-image.ts";
import { drawApng, toRgb } from "./draw-apng.ts";
import type { Thumbnail } from "./frame-choice.ts";
import { detectMediaType, withoutJunk } from "./media-type.ts";
import type { AlphaMode, RgbImage } from "./rgb-image.ts";
import { loadSharp } from "./sharp.ts";

/** Side of a small copy: enough to see that a line of text is there. */
const THUMBNAIL_SIDE = 48;

/** Frames looked at; longer animations repeat themselves, or are films. */
const MAX_FRAMES_READ = 200;

/** Frames that browsers show for a moment are shown for this long. */
const SHORTEST_MS = 20;
const USUAL_MS = 100;

/** An animation of at least two frames. */
export interface Animation {
  /** Of the frames that are looked at, milliseconds. */
  readonly delaysMs: readonly number[];
  /** @throws {ImageDecodeError} | the reason of the slice's signal */
  thumbnails(slice: TimeSlice): Promise<readonly Thumbnail[]>;
  /** @throws {ImageDecodeError} | the reason of the slice's signal */
  frame(index: number, slice: TimeSlice): Promise<RgbImage>;
}

export interface AnimationOptions {
  readonly limits: Required<ImageLimits>;
  readonly alpha: AlphaMode;
}

/** Undefined if the file has no second frame. The pixels of all frames together stay within `limits.maxPixels`. */
export async function openAnimation(
  file: Uint8Array,
  options: AnimationOptions,
): Promise<Animation | undefined> {
  const data = withoutJunk(file);
  switch (detectMediaType(data)) {
    case "image/gif":
    case "image/webp":
      return openPages(data, options);
    case "image/png": {
      const frames = readApng(data, options.limits.maxPixels);
      return frames && openApng(frames, options);
    }
    default:
      return undefined;
  }
}

async function openPages(
  data: Uint8Array,
  { limits, alpha }: AnimationOptions,
): Promise<Animation | undefined> {
  const sharp = await loadSharp();
  const reading = { pages: -1, limitInputPixels: false, failOn: "none" } as const;
  const header = await sharp(data, reading)
    .metadata()
    .catch(() => undefined);
  const { pages = 1, width = 0, height = 0, pageHeight = height, delay = [] } = header ?? {};
  const fitting = Math.floor(limits.maxPixels / Math.max(1, width * pageHeight));
  const count = Math.min(pages, fitting, MAX_FRAMES_READ);
  if (count < 2) return undefined;
  return {
    delaysMs: Array.from({ length: count }, (_, index) => shownMs(delay[index])),
    async thumbnails() {
      const stack = await sharp(data, {
        ...reading,
        pages: count,
        limitInputPixels: limits.maxPixels,
      })
        .resize(THUMBNAIL_SIDE, THUMBNAIL_SIDE, { fit: "fill" })
        .flatten({ background: "#fff" })
        .toColourspace("srgb")
        .raw()
        .toBuffer();
      const bytes = stack.length / count;
      return Array.from({ length: count }, (_, index) =>
        stack.subarray(index * bytes, (index + 1) * bytes),
      );
    },
    frame: (page, slice) => decodeImage(data, limits, alpha, slice, { page }),
  };
}

function openApng(frames: readonly ApngFrame[], { alpha }: AnimationOptions): Animation {
  const read = frames.slice(0, MAX_FRAMES_READ);
  return {
    delaysMs: read.map(({ delayMs }) => shownMs(delayMs)),
    async thumbnails(slice) {
      const sharp = await loadSharp();
      const thumbnails: Thumbnail[] = [];
      for await (const { width, height, rgba } of drawApng(read, slice)) {
        thumbnails.push(
          await sharp(rgba, { raw: { width, height, channels: 4 } })
            .resize(THUMBNAIL_SIDE, THUMBNAIL_SIDE, { fit: "fill" })
            .flatten({ background: "#fff" })
            .raw()
            .toBuffer(),
        );
      }
      return thumbnails;
    },
    async frame(index, slice) {
      let drawn = 0;
      for await (const canvas of drawApng(read, slice)) {
        // At once: the next step disposes of this frame.
        if (drawn++ === index) return toRgb(canvas, alpha);
      }
      throw new RangeError(`The animation has no frame ${index}.`);
    },
  };
}

function shownMs(delay: number = USUAL_MS): number {
  return delay < SHORTEST_MS ? USUAL_MS : delay;
}
