// The chunks of a PNG file, as far as they came. In: bytes, whole or cut off. Out: chunks, and files made of chunks.
// It looks at no pixels.

import { crc32 } from "node:zlib";

const SIGNATURE = Uint8Array.of(0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a);

export interface PngChunk {
  readonly type: string;
  /** Less than it should be in the last chunk of a file that was cut off. */
  readonly data: Uint8Array;
}

/** What IHDR says. */
export interface PngHeader {
  readonly width: number;
  readonly height: number;
  readonly bitDepth: number;
  readonly colorType: number;
  readonly interlaced: boolean;
}

const SAMPLES: Readonly<Record<number, number>> = { 0: 1, 2: 3, 3: 1, 4: 2, 6: 4 };

/** The chunks in order, the last one perhaps cut off. */
export function readPngChunks(file: Uint8Array): PngChunk[] {
  const view = new DataView(file.buffer, file.byteOffset, file.byteLength);
  const chunks: PngChunk[] = [];
  for (let at = SIGNATURE.length; at + 8 <= file.length; ) {
    const length = view.getUint32(at);
    const type = String.fromCharCode(...file.subarray(at + 4, at + 8));
    chunks.push({ type, data: file.subarray(at + 8, Math.min(at + 8 + length, file.length)) });
    at += 12 + length;
    if (type === "IEND") break;
  }
  return chunks;
}

/** Undefined if the chunk is too short or says something that no PNG says. */
export function readPngHeader({ type, data }: PngChunk): PngHeader | undefined {
  if (type !== "IHDR" || data.length < 13) return undefined;
  const view = new DataView(data.buffer, data.byteOffset, data.byteLength);
  const header = {
    width: view.getUint32(0),
    height: view.getUint32(4),
    bitDepth: data[8]!,
    colorType: data[9]!,
    interlaced: data[12] === 1,
  };
  return header.colorType in SAMPLES && header.width > 0 && header.height > 0 ? header : undefined;
}

/** Bytes of a row of so many pixels, with the filter byte in front. */
export function pngRowBytes({ bitDepth, colorType }: PngHeader, width: number): number {
  return 1 + Math.ceil((width * bitDepth * SAMPLES[colorType]!) / 8);
}

export function writePng(chunks: readonly PngChunk[]): Uint8Array {
  return Buffer.concat([SIGNATURE, ...chunks.map(writeChunk)]);
}

function writeChunk({ type, data }: PngChunk): Uint8Array {
  const chunk = Buffer.alloc(12 + data.length);
  chunk.writeUInt32BE(data.length, 0);
  chunk.write(type, 4, "latin1");
  chunk.set(data, 8);
  chunk.writeUInt32BE(crc32(chunk.subarray(4, 8 + data.length)), 8 + data.length);
  return chunk;
}
