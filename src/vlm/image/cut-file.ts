// A picture file that ends too early: what came of it is seen. In: bytes that were refused as corrupt. Out: the rows that
// came, cropped, or nothing when that is too little to be called a picture. Each format is mended in a file of its own.

import { ImageDecodeError } from "../errors.ts";
import type { TimeSlice } from "../event-loop/time-slice.ts";
import { readBmpHeader } from "./bmp-header.ts";
import { decodeImage, type ImageLimits } from "./decode-image.ts";
import { detectMediaType, withoutJunk } from "./media-type.ts";
import { mendJpeg } from "./mend-jpeg.ts";
import { mendPng } from "./mend-png.ts";
import { mendWebp } from "./mend-webp.ts";
import type { AlphaMode, RgbImage } from "./rgb-image.ts";
import { loadSharp } from "./sharp.ts";

/**
 * Share of the rows that has to be there. Half of a file is often less than half of its rows: the paper at the bottom of
 * a picture takes no bytes.
 */
const MIN_SHARE = 0.4;

/** Rows that came: from `first` on, `count` of them. */
interface Rows {
  readonly first: number;
  readonly count: number;
}

interface Mended {
  readonly image: RgbImage;
  readonly rows: Rows;
}

/** How the files of one kind are decoded. */
interface Decoder {
  readonly data: Uint8Array;
  readonly limits: Required<ImageLimits>;
  readonly slice: TimeSlice;
  /** Undefined if not even that can be decoded. */
  decode(file: Uint8Array, lenient: boolean): Promise<RgbImage | undefined>;
}

/**
 * The rows of a cut picture that came.
 *
 * @returns undefined if there are too few of them, or if the format does not let one read a part: AVIF, lossless WebP.
 * @throws the reason of the slice's signal.
 */
export async function decodeCutFile(
  file: Uint8Array,
  limits: Required<ImageLimits>,
  alpha: AlphaMode,
  slice: TimeSlice,
): Promise<RgbImage | undefined> {
  const data = withoutJunk(file);
  const decoder: Decoder = {
    data,
    limits,
    slice,
    decode: async (mended, lenient) => {
      try {
        // A mended file is as long as it says, which was checked.
        const free = { ...limits, maxFileBytes: Infinity };
        return await decodeImage(mended, free, alpha, slice, { lenient });
      } catch (error) {
        if (error instanceof ImageDecodeError) return undefined;
        throw error;
      }
    },
  };
  const mended = await mend(decoder);
  if (!mended) return undefined;
  const { image, rows } = mended;
  return rows.count < image.height * MIN_SHARE ? undefined : crop(image, rows);
}

async function mend(decoder: Decoder): Promise<Mended | undefined> {
  const { data, limits } = decoder;
  switch (detectMediaType(data)) {
    case "image/jpeg": {
      const file = mendJpeg(data);
      const image = file && (await decoder.decode(file, true));
      return image && { image, rows: { first: 0, count: rowsAboveGrey(image) } };
    }
    case "image/png": {
      const mended = await mendPng(data, limits.maxPixels);
      const image = mended && (await decoder.decode(mended.file, false));
      if (!image) return undefined;
      repeatRows(image, mended.oddRowsFrom);
      return { image, rows: { first: 0, count: mended.rows } };
    }
    case "image/gif": {
      const image = await decoder.decode(data, true);
      return image && { image, rows: { first: 0, count: await rowsAboveNothing(data, image) } };
    }
    case "image/webp":
      return compare(decoder, mendWebp(data));
    case "image/bmp":
      return compare(decoder, mendBmp(data, limits.maxPixels));
    default:
      return undefined;
  }
}

/** Puts the row above in place of every second row from this one on. */
function repeatRows({ width, height, pixels }: RgbImage, from: number): void {
  const rowBytes = width * 3;
  for (let row = from; row < height; row += 2) {
    pixels.copyWithin(row * rowBytes, (row - 1) * rowBytes, row * rowBytes);
  }
}

/** A JPEG is made of blocks in rows of at most so many pixels; the last such row may have come in part. */
const BLOCK_ROW_PIXELS = 16;

/** A decoder that runs out of data makes the rest middle grey. */
function rowsAboveGrey({ width, height, pixels }: RgbImage): number {
  const isGrey = (row: number, from: number) =>
    pixels
      .subarray((row * width + from) * 3, (row + 1) * width * 3)
      .every((value) => value >= 126 && value <= 130);
  let count = height;
  while (count > 0 && isGrey(count - 1, 0)) count--;
  const least = Math.max(0, count - BLOCK_ROW_PIXELS);
  while (count > least && isGrey(count - 1, Math.max(0, width - BLOCK_ROW_PIXELS / 2))) count--;
  return count;
}

/** Of a GIF nothing is drawn that did not come: below it is transparent. */
async function rowsAboveNothing(data: Uint8Array, { width, height }: RgbImage): Promise<number> {
  const sharp = await loadSharp();
  const opacity = await sharp(data, { failOn: "none" })
    .ensureAlpha()
    .extractChannel(3)
    .raw()
    .toBuffer();
  let count = height;
  while (count > 0 && opacity.subarray((count - 1) * width, count * width).every((a) => a === 0)) {
    count--;
  }
  return count;
}

/** Of fillings that can be decoded, the first two that differ show which rows they made up. */
async function compare(
  { decode }: Decoder,
  files: readonly Uint8Array[],
): Promise<Mended | undefined> {
  const [only] = files;
  let image: RgbImage | undefined;
  for (const file of files) {
    const other = await decode(file, true);
    if (!other) continue;
    if (only !== undefined && files.length === 1) {
      return { image: other, rows: { first: 0, count: other.height } };
    }
    if (image) return { image, rows: commonRows(image, other) };
    image = other;
  }
  return undefined;
}

/** The equal rows at the top or at the bottom, whichever are more. */
function commonRows(a: RgbImage, b: RgbImage): Rows {
  const rowBytes = a.width * 3;
  const equal = (row: number) => {
    const [start, end] = [row * rowBytes, (row + 1) * rowBytes];
    return Buffer.compare(a.pixels.subarray(start, end), b.pixels.subarray(start, end)) === 0;
  };
  let top = 0;
  while (top < a.height && equal(top)) top++;
  let bottom = 0;
  while (bottom < a.height - top && equal(a.height - 1 - bottom)) bottom++;
  return top >= bottom ? { first: 0, count: top } : { first: a.height - bottom, count: bottom };
}

/** A bitmap of plain rows or of runs, filled up to the length it should have: twice, with different pixels. */
function mendBmp(data: Uint8Array, maxPixels: number): readonly Uint8Array[] {
  try {
    const { width, height, bitsPerPixel, pixelsAt } = readBmpHeader(data);
    if (data.length < pixelsAt || width * height > maxPixels) return [];
    // Runs take no more than two bytes a pixel, and a filling of them ends every row.
    const bytes = pixelsAt + height * (Math.ceil((width * Math.max(bitsPerPixel, 16)) / 8) + 4);
    const blank = Math.max(0, bytes - data.length);
    return [0x00, 0xff].map((colour) => {
      const filling = Buffer.alloc(blank, Uint8Array.of(colour === 0 ? 0x01 : 0xff, colour));
      return Buffer.concat([data, filling]);
    });
  } catch {
    return [];
  }
}

function crop({ width, pixels }: RgbImage, { first, count }: Rows): RgbImage {
  const rowBytes = width * 3;
  return {
    width,
    height: count,
    pixels: pixels.subarray(first * rowBytes, (first + count) * rowBytes),
  };
}
