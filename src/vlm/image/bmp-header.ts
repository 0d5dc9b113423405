// The header of a Windows or OS/2 bitmap.
// In: the bytes of a file. Out: its size and how its pixels are stored. It looks at no pixels.

import { ImageDecodeError } from "../errors.ts";

const FILE_HEADER_BYTES = 14;
const RGB = 0;
const RLE8 = 1;
const RLE4 = 2;
const BIT_FIELDS = 3;
const ALPHA_BIT_FIELDS = 6;

/** What the header of a bitmap says. */
export interface BmpHeader {
  readonly width: number;
  readonly height: number;
  /** Most bitmaps are stored from the last row to the first. */
  readonly bottomUp: boolean;
  readonly bitsPerPixel: number;
  readonly compression: number;
  /** Bytes from the start of the file to the pixels. */
  readonly pixelsAt: number;
  readonly paletteAt: number;
  readonly paletteEntryBytes: 3 | 4;
  readonly paletteLength: number;
  /** Which bits of a 16- or 32-bit pixel are red, green, blue and alpha. */
  readonly masks: readonly [number, number, number, number];
}

/** @throws {ImageDecodeError} `image-corrupt` or, for a kind of bitmap nobody writes, `image-unsupported`. */
export function readBmpHeader(data: Uint8Array): BmpHeader {
  const view = viewOf(data);
  const headerBytes = data.length < 26 ? 0 : view.getUint32(14, true);
  const os2 = headerBytes === 12;
  if (data.length < FILE_HEADER_BYTES + Math.max(12, headerBytes)) {
    throw corruptBmp("its header is cut off");
  }
  if (!os2 && headerBytes < 40) throw unsupported(`a header of ${headerBytes} bytes`);
  const signedHeight = os2 ? view.getUint16(20, true) : view.getInt32(22, true);
  const bitsPerPixel = view.getUint16(os2 ? 24 : 28, true);
  const compression = os2 ? RGB : view.getUint32(30, true);
  const header = {
    width: os2 ? view.getUint16(18, true) : view.getInt32(18, true),
    height: Math.abs(signedHeight),
    bottomUp: signedHeight > 0,
    bitsPerPixel,
    compression,
  };
  if (header.width <= 0 || header.height === 0) throw corruptBmp("it has no pixels");
  if (!isKnown(compression, bitsPerPixel)) {
    throw unsupported(`${bitsPerPixel} bits per pixel and compression ${compression}`);
  }
  const masks = readMasks(view, headerBytes, compression, bitsPerPixel);
  // With the old header the masks stand behind it, in newer ones inside.
  const masksBehind = headerBytes === 40 ? ({ 3: 12, 6: 16 }[compression] ?? 0) : 0;
  const paletteAt = FILE_HEADER_BYTES + headerBytes + masksBehind;
  const colors = os2 ? 0 : view.getUint32(46, true);
  const pixelsAt = view.getUint32(10, true);
  return {
    ...header,
    masks,
    paletteAt,
    paletteEntryBytes: os2 ? 3 : 4,
    paletteLength: bitsPerPixel > 8 ? 0 : Math.min(colors || 256, 1 << bitsPerPixel),
    pixelsAt: Math.max(pixelsAt, paletteAt),
  };
}

/** Are the pixels stored as runs instead of rows? */
export function isRunLength({ compression }: BmpHeader): boolean {
  return compression === RLE8 || compression === RLE4;
}

function isKnown(compression: number, bits: number): boolean {
  switch (compression) {
    case RGB:
      return [1, 4, 8, 16, 24, 32].includes(bits);
    case RLE8:
      return bits === 8;
    case RLE4:
      return bits === 4;
    case BIT_FIELDS:
    case ALPHA_BIT_FIELDS:
      return bits === 16 || bits === 32;
    default:
      return false;
  }
}

function readMasks(
  view: DataView,
  headerBytes: number,
  compression: number,
  bits: number,
): BmpHeader["masks"] {
  if (compression !== BIT_FIELDS && compression !== ALPHA_BIT_FIELDS) {
    return bits === 16 ? [0x7c00, 0x3e0, 0x1f, 0] : [0xff0000, 0xff00, 0xff, 0];
  }
  const withAlpha = headerBytes >= 56 || compression === ALPHA_BIT_FIELDS;
  if (view.byteLength < (withAlpha ? 70 : 66)) throw corruptBmp("its header is cut off");
  const mask = (at: number) => view.getUint32(at, true);
  return [mask(54), mask(58), mask(62), withAlpha ? mask(66) : 0];
}

export function viewOf(data: Uint8Array): DataView {
  return new DataView(data.buffer, data.byteOffset, data.byteLength);
}

/** The file contradicts itself or ends too early. */
export function corruptBmp(how: string): ImageDecodeError {
  return new ImageDecodeError("image-corrupt", `The picture (image/bmp) is damaged: ${how}.`, {
    mediaType: "image/bmp",
  });
}

function unsupported(what: string): ImageDecodeError {
  return new ImageDecodeError(
    "image-unsupported",
    `The picture (image/bmp) has ${what}, which is not supported.`,
    { mediaType: "image/bmp" },
  );
}
