// A PNG that was cut off, made whole: every row that came, and blank ones behind. In: bytes. Out: the bytes of a PNG.
// libvips loses the whole chunk that was cut, in small files the picture; zlib gives every byte that can be inflated.

import { promisify } from "node:util";
import { constants, deflate, inflate } from "node:zlib";
import {
  type PngChunk,
  type PngHeader,
  pngRowBytes,
  readPngChunks,
  readPngHeader,
  writePng,
} from "./png-chunks.ts";

const inflated = promisify<Uint8Array, object, Buffer>(inflate);
const deflated = promisify<Uint8Array, object, Buffer>(deflate);

/** Adam7: where the pixels of each pass begin, and how far they are apart. */
const PASSES = [
  { x: 0, y: 0, dx: 8, dy: 8 },
  { x: 4, y: 0, dx: 8, dy: 8 },
  { x: 0, y: 4, dx: 4, dy: 8 },
  { x: 2, y: 0, dx: 4, dy: 4 },
  { x: 0, y: 2, dx: 2, dy: 4 },
  { x: 1, y: 0, dx: 2, dy: 2 },
  { x: 0, y: 1, dx: 1, dy: 2 },
] as const;

export interface MendedFile {
  readonly file: Uint8Array;
  /** Rows that came, from the top. */
  readonly rows: number;
  /** Every second row from this one on is missing: the last pass of an interlaced picture has them all. */
  readonly oddRowsFrom: number;
}

/** Undefined if not even the header came. */
export async function mendPng(
  data: Uint8Array,
  maxPixels: number,
): Promise<MendedFile | undefined> {
  const chunks = readPngChunks(data);
  const header = chunks[0] && readPngHeader(chunks[0]);
  if (!header || header.width * header.height > maxPixels) return undefined;
  const stream = Buffer.concat(
    chunks.filter(({ type }) => type === "IDAT").map(({ data }) => data),
  );
  const sizes = rowSizes(header);
  const total = sizes.reduce((sum, bytes) => sum + bytes, 0);
  const came = await inflateWhatCame(stream, total);
  if (!came) return undefined;

  let whole = 0;
  let end = 0;
  while (whole < sizes.length && end + sizes[whole]! <= came.length) end += sizes[whole++]!;
  const rows = Buffer.alloc(total); // filter 0 everywhere: what is missing is 0
  rows.set(came.subarray(0, end));
  const pixels: PngChunk = { type: "IDAT", data: await deflated(rows, { level: 1 }) };
  const others = chunks.filter(({ type }) => KEPT.includes(type));
  const file = writePng([...others, pixels, { type: "IEND", data: new Uint8Array() }]);
  if (!header.interlaced) return { file, rows: whole, oddRowsFrom: header.height };
  return { file, ...rowsOfPasses(header, whole) };
}

const KEPT = ["IHDR", "PLTE", "tRNS", "gAMA", "sRGB", "eXIf"];

async function inflateWhatCame(stream: Uint8Array, total: number): Promise<Buffer | undefined> {
  const options = { finishFlush: constants.Z_SYNC_FLUSH, maxOutputLength: total + 1 };
  try {
    return await inflated(stream, options);
  } catch {
    return undefined;
  }
}

/** Bytes of each row as stored, pass by pass. */
function rowSizes(header: PngHeader): number[] {
  const { width, height, interlaced } = header;
  if (!interlaced) return Array<number>(height).fill(pngRowBytes(header, width));
  return PASSES.flatMap(({ x, y, dx, dy }) => {
    const [columns, rows] = [Math.ceil((width - x) / dx), Math.ceil((height - y) / dy)];
    return columns > 0 ? Array<number>(Math.max(rows, 0)).fill(pngRowBytes(header, columns)) : [];
  });
}

/** Of an interlaced picture, the rows above which nothing but rows of the last pass is missing. */
function rowsOfPasses({ width, height }: PngHeader, stored: number) {
  let left = stored;
  let rows = height;
  let oddRowsFrom = height;
  for (const pass of PASSES) {
    const { x, y, dy } = pass;
    if (x >= width) continue;
    const inPass = Math.max(0, Math.ceil((height - y) / dy));
    const came = Math.min(inPass, left);
    left -= came;
    if (came === inPass) continue;
    if (pass === PASSES.at(-1)) oddRowsFrom = y + came * dy;
    else rows = Math.min(rows, y + came * dy);
  }
  return { rows, oddRowsFrom };
}
