// The frames of an animated PNG, which libvips does not read: each as a PNG of its own, with where and how it is drawn.
// In: the bytes of a file, whole or cut off. Out: frames. It looks at no pixels.

import { type PngChunk, readPngChunks, readPngHeader, writePng } from "./png-chunks.ts";

/** One frame, as it is drawn over those before it. */
export interface ApngFrame {
  /** A PNG of the frame's own size. */
  readonly file: Uint8Array;
  readonly x: number;
  readonly y: number;
  readonly width: number;
  readonly height: number;
  readonly canvasWidth: number;
  readonly canvasHeight: number;
  readonly delayMs: number;
  /** What becomes of its place afterwards: it stays, is cleared, or is as it was before. */
  readonly dispose: "none" | "background" | "previous";
  /** Laid over what is there, or in its place. */
  readonly over: boolean;
}

const SHARED = ["PLTE", "tRNS", "gAMA", "sRGB"];
const DISPOSALS = ["none", "background", "previous"] as const;
const FCTL_BYTES = 26;

/** Undefined if the file is no animation of at least two frames. Frames beyond `maxPixels` in all are left out. */
export function readApng(data: Uint8Array, maxPixels: number): readonly ApngFrame[] | undefined {
  const chunks = readPngChunks(data);
  const [first] = chunks;
  const header = first && readPngHeader(first);
  if (!first || !header || !chunks.some(({ type }) => type === "acTL")) return undefined;
  const shared = chunks.filter(({ type }) => SHARED.includes(type));
  const canvas = { canvasWidth: header.width, canvasHeight: header.height };
  const most = Math.floor(maxPixels / (header.width * header.height));

  const frames: ApngFrame[] = [];
  let control: PngChunk | undefined;
  let pixels: Uint8Array[] = [];
  const finish = () => {
    const place = control && readControl(control);
    if (place && pixels.length > 0 && frames.length < most && isInside(place, canvas)) {
      const ihdr = Buffer.from(first.data);
      ihdr.writeUInt32BE(place.width, 0);
      ihdr.writeUInt32BE(place.height, 4);
      const file = writePng([
        { type: "IHDR", data: ihdr },
        ...shared,
        { type: "IDAT", data: Buffer.concat(pixels) },
        { type: "IEND", data: new Uint8Array() },
      ]);
      frames.push({ file, ...place, ...canvas });
    }
    pixels = [];
  };
  for (const chunk of chunks) {
    if (chunk.type === "fcTL") {
      finish();
      control = chunk;
    }
    // Without a control in front, the picture for programs that know no animations is not part of it.
    if (chunk.type === "IDAT" && control) pixels.push(chunk.data);
    if (chunk.type === "fdAT") pixels.push(chunk.data.subarray(4));
  }
  // The frame behind which the file was cut off is not whole.
  if (chunks.at(-1)?.type === "IEND") finish();
  return frames.length < 2 ? undefined : frames;
}

type Place = Omit<ApngFrame, "file" | "canvasWidth" | "canvasHeight">;

function readControl({ data }: PngChunk): Place | undefined {
  if (data.length < FCTL_BYTES) return undefined;
  const view = new DataView(data.buffer, data.byteOffset, data.byteLength);
  const dispose = DISPOSALS[data[24]!];
  if (!dispose) return undefined;
  return {
    width: view.getUint32(4),
    height: view.getUint32(8),
    x: view.getUint32(12),
    y: view.getUint32(16),
    delayMs: (1000 * view.getUint16(20)) / (view.getUint16(22) || 100),
    dispose,
    over: data[25] === 1,
  };
}

function isInside(
  { x, y, width, height }: Place,
  { canvasWidth, canvasHeight }: Pick<ApngFrame, "canvasWidth" | "canvasHeight">,
): boolean {
  return width > 0 && height > 0 && x + width <= canvasWidth && y + height <= canvasHeight;
}
