// Windows bitmaps, which sharp does not read: 1 to 32 bits, bit fields, both run-length codings, OS/2 headers.
// In: the bytes of a file. Out: RGB. It is written for files that lie: every offset is checked, nothing is trusted.

import type { TimeSlice } from "../event-loop/time-slice.ts";
import { type BmpHeader, corruptBmp, isRunLength, readBmpHeader, viewOf } from "./bmp-header.ts";
import type { AlphaMode, RgbImage } from "./rgb-image.ts";

/**
 * Decodes a bitmap; pixels with alpha are laid over white or, with `drop`, lose it.
 *
 * @throws {ImageDecodeError} `image-corrupt`, `image-unsupported`, or the reason of the slice's signal.
 */
export async function decodeBmp(
  data: Uint8Array,
  alpha: AlphaMode,
  slice: TimeSlice,
): Promise<RgbImage> {
  const header = readBmpHeader(data);
  const pixels = new Uint8Array(header.width * header.height * 3); // (height, width, 3)
  if (isRunLength(header)) {
    await decodeRunLengths(data, header, pixels, slice);
  } else {
    await decodeRows(data, header, alpha, pixels, slice);
  }
  return { width: header.width, height: header.height, pixels };
}

/** Uncompressed rows, each padded to four bytes. */
async function decodeRows(
  data: Uint8Array,
  header: BmpHeader,
  alpha: AlphaMode,
  pixels: Uint8Array,
  slice: TimeSlice,
): Promise<void> {
  const { width, height, bitsPerPixel, pixelsAt } = header;
  const rowBytes = Math.ceil((width * bitsPerPixel) / 8);
  const stride = Math.ceil(rowBytes / 4) * 4;
  if (data.length < pixelsAt + stride * (height - 1) + rowBytes) throw corruptBmp("it is cut off");
  const blend = alpha === "white" && (await hasOpacity(data, header, stride, slice));
  const writeRow = rowWriter(data, header, blend, pixels);
  for (let row = 0; row < height; row++) {
    if (slice.over) await slice.rest();
    const target = (header.bottomUp ? height - 1 - row : row) * width * 3;
    writeRow(pixelsAt + row * stride, target);
  }
}

type RowWriter = (from: number, to: number) => void;

function rowWriter(
  data: Uint8Array,
  header: BmpHeader,
  blend: boolean,
  pixels: Uint8Array,
): RowWriter {
  const { width, bitsPerPixel } = header;
  if (bitsPerPixel <= 8) {
    const palette = readPalette(data, header);
    const perByte = 8 / bitsPerPixel;
    const mask = (1 << bitsPerPixel) - 1;
    return (from, to) => {
      for (let x = 0; x < width; x++, to += 3) {
        const byte = data[from + Math.floor(x / perByte)]!;
        const color = (byte >> (8 - bitsPerPixel * ((x % perByte) + 1))) & mask;
        pixels[to] = palette[color * 3]!;
        pixels[to + 1] = palette[color * 3 + 1]!;
        pixels[to + 2] = palette[color * 3 + 2]!;
      }
    };
  }
  if (bitsPerPixel === 24) {
    return (from, to) => {
      for (let x = 0; x < width; x++, from += 3, to += 3) {
        pixels[to] = data[from + 2]!;
        pixels[to + 1] = data[from + 1]!;
        pixels[to + 2] = data[from]!;
      }
    };
  }
  return maskedRowWriter(data, header, blend, pixels);
}

/** 16 or 32 bits, taken apart by masks. */
function maskedRowWriter(
  data: Uint8Array,
  header: BmpHeader,
  blend: boolean,
  pixels: Uint8Array,
): RowWriter {
  const { width, bitsPerPixel, masks } = header;
  const [red, green, blue, opacity] = masks.map(channelReader) as [
    Channel,
    Channel,
    Channel,
    Channel,
  ];
  const read = pixelReader(data, bitsPerPixel);
  return (from, to) => {
    for (let x = 0; x < width; x++, from += bitsPerPixel / 8, to += 3) {
      const value = read(from);
      const a = blend ? opacity(value) : 255;
      pixels[to] = overWhite(red(value), a);
      pixels[to + 1] = overWhite(green(value), a);
      pixels[to + 2] = overWhite(blue(value), a);
    }
  };
}

/** Is any pixel visible? Many programs write an alpha channel of zeros and mean an opaque picture. */
async function hasOpacity(
  data: Uint8Array,
  { width, height, bitsPerPixel, pixelsAt, masks }: BmpHeader,
  stride: number,
  slice: TimeSlice,
): Promise<boolean> {
  if (masks[3] === 0) return false;
  const opacity = channelReader(masks[3]);
  const read = pixelReader(data, bitsPerPixel);
  const bytes = bitsPerPixel / 8;
  for (let row = 0; row < height; row++) {
    if (slice.over) await slice.rest();
    const start = pixelsAt + row * stride;
    for (let at = start; at < start + width * bytes; at += bytes) {
      if (opacity(read(at)) !== 0) return true;
    }
  }
  return false;
}

function pixelReader(data: Uint8Array, bitsPerPixel: number): (at: number) => number {
  const view = viewOf(data);
  if (bitsPerPixel === 16) return (at) => view.getUint16(at, true);
  return (at) => view.getUint32(at, true);
}

function overWhite(value: number, alpha: number): number {
  return Math.round((value * alpha + 255 * (255 - alpha)) / 255);
}

type Channel = (value: number) => number;

/** A function that takes the masked bits out of a pixel and stretches them to 0..255. */
function channelReader(mask: number): Channel {
  if (mask === 0) return () => 0;
  const shift = 31 - Math.clz32(mask & -mask);
  const max = mask >>> shift;
  return (value) => Math.floor((((value & mask) >>> shift) * 255) / max);
}

/** (colors, 3), black where the file has less than it says. */
function readPalette(data: Uint8Array, header: BmpHeader): Uint8Array {
  const { bitsPerPixel, paletteAt, paletteEntryBytes, paletteLength } = header;
  const palette = new Uint8Array((1 << bitsPerPixel) * 3);
  for (let color = 0; color < paletteLength; color++) {
    const at = paletteAt + color * paletteEntryBytes;
    palette[color * 3] = data[at + 2] ?? 0;
    palette[color * 3 + 1] = data[at + 1] ?? 0;
    palette[color * 3 + 2] = data[at] ?? 0;
  }
  return palette;
}

/** Runs of one colour, stretches of single ones, and jumps; what is jumped over keeps the first colour. */
async function decodeRunLengths(
  data: Uint8Array,
  header: BmpHeader,
  pixels: Uint8Array,
  slice: TimeSlice,
): Promise<void> {
  const { width, height, bitsPerPixel } = header;
  const palette = readPalette(data, header);
  const colors = new Uint8Array(width * height); // (height, width), rows as stored
  let at = header.pixelsAt;
  let x = 0;
  let y = 0;
  const put = (color: number) => {
    if (x < width && y < height) colors[y * width + x] = color;
    x++;
  };
  const colorOf = (byte: number, index: number) => {
    if (bitsPerPixel === 8) return byte;
    return index % 2 === 0 ? byte >> 4 : byte & 15;
  };
  while (y < height) {
    if (slice.over) await slice.rest();
    const count = data[at];
    const value = data[at + 1];
    if (count === undefined || value === undefined) throw corruptBmp("it is cut off");
    at += 2;
    if (count > 0) {
      for (let i = 0; i < count; i++) put(colorOf(value, i));
    } else if (value === 0) {
      x = 0;
      y++;
    } else if (value === 1) {
      break;
    } else if (value === 2) {
      x += data[at] ?? 0;
      y += data[at + 1] ?? 0;
      at += 2;
    } else {
      const bytes = Math.ceil((value * bitsPerPixel) / 8);
      if (at + bytes > data.length) throw corruptBmp("it is cut off");
      for (let i = 0; i < value; i++) put(colorOf(data[at + ((i * bitsPerPixel) >> 3)]!, i));
      at += bytes + (bytes % 2);
    }
  }
  for (let row = 0; row < height; row++) {
    if (slice.over) await slice.rest();
    let to = (header.bottomUp ? height - 1 - row : row) * width * 3;
    for (let i = row * width; i < (row + 1) * width; i++, to += 3) {
      pixels[to] = palette[colors[i]! * 3]!;
      pixels[to + 1] = palette[colors[i]! * 3 + 1]!;
      pixels[to + 2] = palette[colors[i]! * 3 + 2]!;
    }
  }
}
