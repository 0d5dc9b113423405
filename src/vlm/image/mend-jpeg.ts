// A JPEG that was cut off, closed so that a decoder takes it. In: bytes. Out: the bytes of a JPEG.
// What a decoder does not find it makes grey; a scan that was cut in its header is left out.

const SOS = 0xda;
const EOI = 0xd9;

/** Undefined if no scan has begun: headers are no picture. */
export function mendJpeg(data: Uint8Array): Uint8Array | undefined {
  const end = endOfScans(data);
  return end === undefined
    ? undefined
    : Buffer.concat([data.subarray(0, end), Uint8Array.of(0xff, EOI)]);
}

/** Where the last scan ends of which any data came. */
function endOfScans(data: Uint8Array): number | undefined {
  let end: number | undefined;
  for (let at = 2; at + 4 <= data.length; ) {
    if (data[at] !== 0xff) return end;
    const marker = data[at + 1]!;
    if (marker === EOI) return end;
    if (marker === 0xff) {
      at++;
      continue;
    }
    const next = at + 2 + ((data[at + 2]! << 8) | data[at + 3]!);
    if (next >= data.length) return end;
    at = marker === SOS ? endOfData(data, next) : next;
    if (marker === SOS) end = at;
  }
  return end;
}

/** Coded data goes on until a marker that is neither a stuffed FF nor a restart. */
function endOfData(data: Uint8Array, start: number): number {
  for (let at = start; at + 1 < data.length; at++) {
    if (data[at] !== 0xff) continue;
    const next = data[at + 1]!;
    if (next !== 0 && (next < 0xd0 || next > 0xd7)) return at;
  }
  // A lone FF at the very end would swallow the marker that closes the file.
  return data.at(-1) === 0xff ? data.length - 1 : data.length;
}
