// The bytes of a picture file to RGB pixels, decoded by sharp.
// In: bytes from anywhere. Out: upright 8-bit RGB as the reference (Pillow) has it, or an ImageDecodeError.
// It knows nothing of patches or of caches.

import type { Sharp, SharpOptions } from "sharp";
import { integer, object, parseOptions, withDefaults } from "../../parse-options.ts";
import { ImageDecodeError } from "../errors.ts";
import type { TimeSlice } from "../event-loop/time-slice.ts";
import { readBmpHeader } from "./bmp-header.ts";
import { decodeBmp } from "./decode-bmp.ts";
import {
  detectMediaType,
  isReadable,
  type MediaType,
  type ReadableMediaType,
  withoutJunk,
} from "./media-type.ts";
import type { AlphaMode, RgbImage } from "./rgb-image.ts";
import { loadSharp } from "./sharp.ts";

/** What a picture may cost. Everything is checked before a single pixel is decoded. */
export interface ImageLimits {
  /** Largest file. @default 20971520 (20 MiB) */
  readonly maxFileBytes?: number;
  /** Largest area: a photo of a phone passes, a decompression bomb does not. @default 50000000 */
  readonly maxPixels?: number;
  /** Pictures in work at once; the others wait. Bounds memory. @default 2 */
  readonly maxConcurrent?: number;
}

const DEFAULT_LIMITS: Required<ImageLimits> = {
  maxFileBytes: 20 * 2 ** 20,
  maxPixels: 50_000_000,
  maxConcurrent: 2,
};

const LIMITS_SCHEMA = object({
  maxFileBytes: integer(1).optional(),
  maxPixels: integer(1).optional(),
  maxConcurrent: integer(1).optional(),
});

/** Beyond what JPEG, GIF, WebP and AVIF can say at all; one row stays short work. */
const MAX_SIDE_PIXELS = 65_536;

/** No honest picture within the limits takes this long. */
const DECODE_TIMEOUT_SECONDS = 30;

/** @throws {TypeError | RangeError} that says what was expected and what came. */
export function checkImageLimits(limits: ImageLimits = {}): Required<ImageLimits> {
  parseOptions(object({ limits: LIMITS_SCHEMA }), { limits }, "reading pictures");
  return withDefaults(DEFAULT_LIMITS, limits);
}

/**
 * Decodes a jpeg, png, gif, webp, avif or bmp file, whatever it is called.
 *
 * Upright (EXIF), first frame only, colour profiles ignored, CMYK by Pillow's formula: all as the reference. Alpha goes
 * as asked. Two things differ from the reference: 16-bit grey is cut to its upper 8 bits (there it is clipped, nearly
 * all white), and with `drop` the transparent parts of a GIF are black.
 *
 * @throws {ImageDecodeError} `image-unsupported`, `image-too-large` or `image-corrupt`. A file that ends too early is
 * corrupt, but for a JPEG that lacks nothing but its end marker.
 */
export async function decodeImage(
  file: Uint8Array,
  limits: Required<ImageLimits>,
  alpha: AlphaMode,
  slice: TimeSlice,
  reading: Reading = {},
): Promise<RgbImage> {
  checkFileBytes(file, limits.maxFileBytes);
  const data = withoutJunk(file);
  const mediaType = detectMediaType(data);
  if (!isReadable(mediaType)) throw unreadable(mediaType);
  if (mediaType === "image/bmp") {
    const { width, height } = readBmpHeader(data);
    checkArea(width, height, limits.maxPixels, mediaType);
    return decodeBmp(data, alpha, slice);
  }
  const sharp = await loadSharp();
  const header = await orCorrupt(mediaType, () =>
    sharp(data, {
      ...READING,
      failOn: reading.lenient ? "none" : READING.failOn,
      limitInputPixels: false,
    }).metadata(),
  );
  // libvips looks for itself: a file made to look like two kinds of picture is neither.
  if (header.mediaType !== mediaType) throw corrupt(mediaType);
  checkArea(header.width, header.height, limits.maxPixels, mediaType);
  const fourth = header.space === "cmyk" ? "black" : header.hasAlpha ? alpha : "drop";
  const raw = await decodeRaw(data, mediaType, limits.maxPixels, reading, (picture) => {
    if (fourth === "black") return picture.pipelineColourspace("cmyk").toColourspace("cmyk");
    const rgb = picture.toColourspace("srgb");
    return fourth === "drop" ? rgb.removeAlpha() : rgb.ensureAlpha();
  });
  const { width, height } = raw.info;
  const pixels = fourth === "drop" ? raw.data : await mergeFourth(raw.data, MERGES[fourth], slice);
  if (pixels.length !== width * height * 3) throw corrupt(mediaType);
  return { width, height, pixels };
}

/** How much of a file is wanted, and how much of it has to be there. */
export interface Reading {
  /** Frame of an animation. @default 0 */
  readonly page?: number;
  /** Fills up what is missing instead of refusing the file. @default false */
  readonly lenient?: boolean;
}

/** The reference knows no colour management, and it does not mind odd but complete files. */
const READING = {
  autoOrient: true,
  ignoreIcc: true,
  failOn: "truncated",
} as const satisfies SharpOptions;

type RawPicture = Awaited<ReturnType<typeof toRaw>>;

function toRaw(picture: Sharp) {
  return picture
    .timeout({ seconds: DECODE_TIMEOUT_SECONDS })
    .raw()
    .toBuffer({ resolveWithObject: true });
}

async function decodeRaw(
  data: Uint8Array,
  mediaType: ReadableMediaType,
  maxPixels: number,
  { page = 0, lenient = false }: Reading,
  convert: (picture: Sharp) => Sharp,
): Promise<RawPicture> {
  const sharp = await loadSharp();
  const reading: SharpOptions = {
    ...READING,
    failOn: lenient ? "none" : READING.failOn,
    limitInputPixels: maxPixels,
    ...(page > 0 && { page }),
  };
  return orCorrupt(mediaType, async () => {
    try {
      return await toRaw(convert(sharp(data, reading)));
    } catch (error) {
      if (lenient || mediaType !== "image/jpeg" || endsWithMarker(data)) throw error;
      // Many JPEGs lack their last two bytes. With them, whatever else is missing shows as a warning.
      const complete = Buffer.concat([data, JPEG_END]);
      return await toRaw(convert(sharp(complete, { ...reading, failOn: "warning" })));
    }
  });
}

const JPEG_END = Uint8Array.of(0xff, 0xd9);

function endsWithMarker(data: Uint8Array): boolean {
  return data.at(-2) === JPEG_END[0] && data.at(-1) === JPEG_END[1];
}

/** What the fourth of four channels does to each of the others; both round to the nearest, as Pillow does. */
const MERGES = {
  /** Ink over ink, no colour profile. */
  black: (ink: number, black: number) => 255 - black - by255(ink * (255 - black)),
  /** Over white paper, as the vendor's own helper does. */
  white: (light: number, opacity: number) => by255(light * opacity + 255 * (255 - opacity)),
} as const;

function by255(product: number): number {
  return (product + 128 + ((product + 128) >> 8)) >> 8;
}

/** (pixels, 4) to (pixels, 3). */
async function mergeFourth(
  four: Uint8Array,
  merge: (value: number, fourth: number) => number,
  slice: TimeSlice,
): Promise<Uint8Array> {
  const bandPixels = 2 ** 15;
  const pixelCount = four.length / 4;
  const three = new Uint8Array(pixelCount * 3);
  for (let band = 0; band < pixelCount; band += bandPixels) {
    if (slice.over) await slice.rest();
    const end = Math.min(band + bandPixels, pixelCount);
    for (let pixel = band; pixel < end; pixel++) {
      const fourth = four[pixel * 4 + 3]!;
      three[pixel * 3] = merge(four[pixel * 4]!, fourth);
      three[pixel * 3 + 1] = merge(four[pixel * 4 + 1]!, fourth);
      three[pixel * 3 + 2] = merge(four[pixel * 4 + 2]!, fourth);
    }
  }
  return three;
}

/** @throws {ImageDecodeError} for an empty file or one above the limit. */
export function checkFileBytes(data: Uint8Array, maxFileBytes: number): void {
  if (data.length === 0) {
    throw new ImageDecodeError("image-corrupt", "The picture is an empty file.");
  }
  if (data.length > maxFileBytes) {
    throw new ImageDecodeError(
      "image-too-large",
      `The picture's file has ${data.length} bytes and at most ${maxFileBytes} are read.`,
      { mediaType: detectMediaType(data) },
    );
  }
}

function checkArea(width: number, height: number, maxPixels: number, mediaType: MediaType): void {
  const pixels = width * height;
  if (pixels <= maxPixels && Math.max(width, height) <= MAX_SIDE_PIXELS) return;
  throw new ImageDecodeError(
    "image-too-large",
    `The picture (${mediaType}) is ${width} x ${height} pixels; at most ${maxPixels} in all ` +
      `and ${MAX_SIDE_PIXELS} a side are decoded.`,
    { mediaType, pixels, maxPixels },
  );
}

function unreadable(mediaType: MediaType | undefined): ImageDecodeError {
  const what = mediaType
    ? `is ${mediaType}, which is not supported`
    : "is no known kind of picture";
  return new ImageDecodeError(
    "image-unsupported",
    `The picture ${what}. Send jpeg, png, gif, webp, avif or bmp.`,
    { mediaType },
  );
}

async function orCorrupt<T>(mediaType: ReadableMediaType, read: () => Promise<T>): Promise<T> {
  try {
    return await read();
  } catch (cause) {
    throw corrupt(mediaType, cause);
  }
}

function corrupt(mediaType: ReadableMediaType, cause?: unknown): ImageDecodeError {
  return new ImageDecodeError(
    "image-corrupt",
    `The picture (${mediaType}) is damaged or incomplete.`,
    { mediaType, cause },
  );
}

/** Draws an SVG as PNG. Not for pictures from outside. */
export async function renderSvg(svg: string): Promise<Uint8Array> {
  const sharp = await loadSharp();
  return await sharp(Buffer.from(svg)).png().toBuffer();
}
