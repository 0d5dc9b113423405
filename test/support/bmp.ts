// Bitmaps put together by hand, for the kinds that no library at hand writes.
// In: header fields and the bytes of the pixels. Out: the bytes of a file.

export interface BmpParts {
  readonly width: number;
  /** Negative: rows from top to bottom. */
  readonly height: number;
  readonly bitsPerPixel: number;
  /** @default 0 (uncompressed) */
  readonly compression?: number;
  /** 12 is OS/2's. @default 40 */
  readonly headerBytes?: number;
  /** Red, green, blue and, with larger headers, alpha. */
  readonly masks?: readonly number[];
  /** As stored: blue, green, red (and a fourth byte but for OS/2). */
  readonly palette?: readonly number[];
  readonly pixels: readonly number[];
}

export function writeBmp(parts: BmpParts): Buffer {
  const { headerBytes = 40, compression = 0, masks = [], palette = [] } = parts;
  const header = Buffer.alloc(headerBytes);
  header.writeUInt32LE(headerBytes, 0);
  if (headerBytes === 12) {
    header.writeUInt16LE(parts.width, 4);
    header.writeUInt16LE(parts.height, 6);
    header.writeUInt16LE(1, 8);
    header.writeUInt16LE(parts.bitsPerPixel, 10);
  } else {
    header.writeInt32LE(parts.width, 4);
    header.writeInt32LE(parts.height, 8);
    header.writeUInt16LE(1, 12);
    header.writeUInt16LE(parts.bitsPerPixel, 14);
    header.writeUInt32LE(compression, 16);
    header.writeUInt32LE(palette.length / 4, 32);
  }
  const maskBytes = Buffer.alloc(masks.length * 4);
  for (const [index, mask] of masks.entries()) maskBytes.writeUInt32LE(mask, index * 4);
  // Behind the small header, inside the larger ones.
  if (headerBytes > 40) maskBytes.copy(header, 40);
  const behind = headerBytes > 40 ? Buffer.alloc(0) : maskBytes;
  const body = Buffer.concat([header, behind, Buffer.from(palette)]);
  const fileHeader = Buffer.alloc(14);
  fileHeader.write("BM", "latin1");
  fileHeader.writeUInt32LE(14 + body.length + parts.pixels.length, 2);
  fileHeader.writeUInt32LE(14 + body.length, 10);
  return Buffer.concat([fileHeader, body, Buffer.from(parts.pixels)]);
}
