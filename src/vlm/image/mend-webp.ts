// A WebP that was cut off, filled up. In: bytes. Out: the bytes of WebPs of the full length.
// A lossy picture is read from top to bottom: two different fillings show by their pixels how far the real data goes.
// A lossless one has no such order, and no filling that a decoder would take.

const HEADER_BYTES = 12;

interface WebpChunk {
  readonly type: string;
  readonly start: number;
  /** As declared; beyond the data in the chunk that was cut. */
  readonly end: number;
}

/** Fillings that the decoder tends to take; it refuses those that look like the end of the data. */
const FILLINGS = [0x00, 0x55, 0x33, 0x11, 0x0f, 0x77];

/** Files with different fillings; none if there is nothing to be seen in this one. */
export function mendWebp(data: Uint8Array): readonly Uint8Array[] {
  const animated = wholeFrames(data);
  if (animated) return [animated];
  const view = new DataView(data.buffer, data.byteOffset, data.byteLength);
  if (data.length < HEADER_BYTES + 8) return [];
  const length = view.getUint32(4, true) + 8;
  // Hardly anything of a picture whose declared length is many times what came.
  if (length <= data.length || length > 16 * data.length) return [];
  return FILLINGS.map((filling) => {
    const file = Buffer.alloc(length, filling);
    file.set(data);
    return file;
  });
}

/** An animation without the frame that was cut; undefined if it is none, or has no whole frame. */
function wholeFrames(data: Uint8Array): Uint8Array | undefined {
  const chunks = readChunks(data);
  const whole = chunks.filter(({ end }) => end <= data.length);
  if (!whole.some(({ type }) => type === "ANMF")) return undefined;
  const end = whole.at(-1)!.end;
  const file = Buffer.from(data.subarray(0, end));
  file.writeUInt32LE(end - 8, 4);
  return file;
}

function readChunks(data: Uint8Array): WebpChunk[] {
  const view = new DataView(data.buffer, data.byteOffset, data.byteLength);
  const chunks: WebpChunk[] = [];
  for (let start = HEADER_BYTES; start + 8 <= data.length; ) {
    const type = String.fromCharCode(...data.subarray(start, start + 4));
    const size = view.getUint32(start + 4, true);
    const end = start + 8 + size + (size % 2);
    chunks.push({ type, start, end });
    start = end;
  }
  return chunks;
}
