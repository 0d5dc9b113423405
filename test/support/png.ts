// A PNG writer for pictures that no library writes: 16 bits a channel, or a size that is only claimed.
// In: samples. Out: the bytes of a file.

import { crc32, deflateSync } from "node:zlib";

export interface PngPicture {
  readonly width: number;
  readonly height: number;
  readonly color: "grey" | "rgb" | "grey-alpha" | "rgba";
  /** @default 8 */
  readonly bitDepth?: 8 | 16;
  /** (height, width, channels), each 0..255 or 0..65535. */
  readonly samples: ArrayLike<number>;
}

const COLOR_TYPES = { grey: 0, rgb: 2, "grey-alpha": 4, rgba: 6 } as const;
const CHANNELS = { grey: 1, rgb: 3, "grey-alpha": 2, rgba: 4 } as const;

/** Writes a picture. */
export function writePng({ width, height, color, bitDepth = 8, samples }: PngPicture): Buffer {
  const bytes = bitDepth / 8;
  const rowSamples = width * CHANNELS[color];
  const rows = Buffer.alloc(height * (1 + rowSamples * bytes)); // filter byte 0 in front of each row
  for (let row = 0; row < height; row++) {
    let at = row * (1 + rowSamples * bytes) + 1;
    for (let i = 0; i < rowSamples; i++, at += bytes) {
      rows.writeUIntBE(samples[row * rowSamples + i] ?? 0, at, bytes);
    }
  }
  return file(width, height, bitDepth, COLOR_TYPES[color], deflateSync(rows));
}

/** A grey picture of one level: a few hundred kilobytes at most, whatever its size. */
export function writeFlatPng(width: number, height: number, level = 0): Buffer {
  const rows = Buffer.alloc(height * (1 + width), level);
  for (let row = 0; row < height; row++) rows[row * (1 + width)] = 0;
  return file(width, height, 8, COLOR_TYPES.grey, deflateSync(rows, { level: 1 }));
}

/** A header that claims a size, and next to nothing behind it. */
export function writePngClaiming(width: number, height: number): Buffer {
  return file(width, height, 8, COLOR_TYPES.grey, deflateSync(Buffer.alloc(8)));
}

function file(
  width: number,
  height: number,
  bitDepth: number,
  colorType: number,
  data: Buffer,
): Buffer {
  const header = Buffer.alloc(13);
  header.writeUInt32BE(width, 0);
  header.writeUInt32BE(height, 4);
  header[8] = bitDepth;
  header[9] = colorType;
  return Buffer.concat([
    Buffer.from("\x89PNG\r\n\x1a\n", "latin1"),
    chunk("IHDR", header),
    chunk("IDAT", data),
    chunk("IEND", Buffer.alloc(0)),
  ]);
}

function chunk(type: string, data: Buffer): Buffer {
  const named = Buffer.concat([Buffer.from(type, "latin1"), data]);
  const length = Buffer.alloc(4);
  length.writeUInt32BE(data.length);
  const check = Buffer.alloc(4);
  check.writeUInt32BE(crc32(named));
  return Buffer.concat([length, named, check]);
}
