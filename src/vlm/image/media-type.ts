// What kind of file some bytes are, by their first bytes alone: names and headers of senders lie.
// In: bytes. Out: a media type, or undefined when they say nothing. It decodes nothing.

/** Kinds of pictures that {@link detectMediaType} finds and the decoder reads. */
export const READABLE_MEDIA_TYPES = [
  "image/jpeg",
  "image/png",
  "image/gif",
  "image/webp",
  "image/avif",
  "image/bmp",
] as const;

export type ReadableMediaType = (typeof READABLE_MEDIA_TYPES)[number];

/** Kinds that are recognised only to say what it was that cannot be read. */
export type RefusedMediaType =
  | "image/heic"
  | "image/heif"
  | "image/jxl"
  | "image/jp2"
  | "image/tiff"
  | "image/svg+xml"
  | "image/vnd.adobe.photoshop"
  | "image/x-icon"
  | "video/mp4"
  | "video/webm"
  | "application/pdf"
  | "application/zip"
  | "application/json"
  | "text/html"
  | "text/xml";

export type MediaType = ReadableMediaType | RefusedMediaType;

/** Says what kind of file this is; a picture behind some bytes of junk is a picture. */
export function detectMediaType(data: Uint8Array): MediaType | undefined {
  return typeAtStart(data) ?? typeAtStart(withoutJunk(data));
}

/** Junk in front of a picture is short: line breaks, a header of HTTP, a mark of byte order. */
const MAX_JUNK_BYTES = 1024;

/** The file from where its picture begins; the whole of it if it begins with something known, or holds no picture. */
export function withoutJunk(data: Uint8Array): Uint8Array {
  if (typeAtStart(data) !== undefined) return data;
  for (let at = 1; at <= MAX_JUNK_BYTES && at + 16 <= data.length; at++) {
    // Cheap first: what the readable kinds begin with. BMP's two letters say too little in the middle of something.
    const first = data[at]!;
    if (![0xff, 0x89, 0x47, 0x52, 0x00].includes(first)) continue;
    const type = typeAtStart(data.subarray(at));
    const isMarker = first !== 0xff || (data[at + 3]! >= 0xc0 && data[at + 3]! < 0xff);
    if (isReadable(type) && type !== "image/bmp" && isMarker) return data.subarray(at);
  }
  return data;
}

function typeAtStart(data: Uint8Array): MediaType | undefined {
  const signature = SIGNATURES.find(([, bytes]) => startsWith(data, bytes));
  if (signature) return signature[0];
  if (startsWith(data, ascii("RIFF")) && startsWith(data, ascii("WEBP"), 8)) return "image/webp";
  if (startsWith(data, ascii("ftyp"), 4)) return fromBrands(data);
  if (isBmp(data)) return "image/bmp";
  return fromText(data);
}

export function isReadable(type: MediaType | undefined): type is ReadableMediaType {
  return READABLE_MEDIA_TYPES.some((readable) => readable === type);
}

const SIGNATURES: readonly (readonly [MediaType, Uint8Array])[] = [
  ["image/jpeg", bytes(0xff, 0xd8, 0xff)],
  ["image/png", bytes(0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a)],
  ["image/gif", ascii("GIF87a")],
  ["image/gif", ascii("GIF89a")],
  ["image/jxl", bytes(0xff, 0x0a)],
  ["image/jxl", bytes(0, 0, 0, 12, 0x4a, 0x58, 0x4c, 0x20, 0x0d, 0x0a, 0x87, 0x0a)],
  ["image/jp2", bytes(0, 0, 0, 12, 0x6a, 0x50, 0x20, 0x20, 0x0d, 0x0a, 0x87, 0x0a)],
  ["image/jp2", bytes(0xff, 0x4f, 0xff, 0x51)],
  ["image/tiff", bytes(0x49, 0x49, 0x2a, 0)],
  ["image/tiff", bytes(0x4d, 0x4d, 0, 0x2a)],
  ["image/tiff", bytes(0x49, 0x49, 0x2b, 0)],
  ["image/tiff", bytes(0x4d, 0x4d, 0, 0x2b)],
  ["image/vnd.adobe.photoshop", ascii("8BPS")],
  ["image/x-icon", bytes(0, 0, 1, 0)],
  ["video/webm", bytes(0x1a, 0x45, 0xdf, 0xa3)],
  ["application/pdf", ascii("%PDF-")],
  ["application/zip", ascii("PK\x03\x04")],
];

/** The brands of an ISO base media file; the first one that says something counts. */
function fromBrands(data: Uint8Array): MediaType {
  const view = new DataView(data.buffer, data.byteOffset, data.byteLength);
  const end = Math.min(view.getUint32(0), data.length, 256);
  // Major brand, its version (never a brand), then the compatible ones.
  const brands = [8];
  for (let at = 16; at + 4 <= end; at += 4) brands.push(at);
  let type: MediaType = "video/mp4";
  for (const at of brands) {
    const brand = String.fromCharCode(...data.subarray(at, at + 4));
    if (brand === "avif" || brand === "avis") return "image/avif";
    if (/^he(?:i[cxms]|v[cxms])$/.test(brand)) return "image/heic";
    if (brand === "mif1" || brand === "msf1") type = "image/heif";
  }
  return type;
}

/** Two letters are too little: text may begin with them too. The size of the second header settles it. */
function isBmp(data: Uint8Array): boolean {
  if (data.length < 18 || !startsWith(data, ascii("BM"))) return false;
  const view = new DataView(data.buffer, data.byteOffset, data.byteLength);
  const headerBytes = view.getUint32(14, true);
  return headerBytes >= 12 && headerBytes <= 124;
}

/** What a server sends instead of a picture. */
function fromText(data: Uint8Array): MediaType | undefined {
  const start = new TextDecoder().decode(data.subarray(0, 1024)).trimStart().toLowerCase();
  if (/^(?:<\?xml|<!--|<!doctype svg|<svg)/.test(start)) {
    if (/<svg[\s>]/.test(start)) return "image/svg+xml";
    return /<html[\s>]/.test(start) ? "text/html" : "text/xml";
  }
  if (/^<(?:!doctype html|html|head|body|title|script|meta|div|p|h1)[\s>]/.test(start)) {
    return "text/html";
  }
  if (/^(?:\{\s*["}]|\[\s*["[{\d\]])/.test(start)) return "application/json";
  return undefined;
}

function startsWith(data: Uint8Array, signature: Uint8Array, at = 0): boolean {
  return (
    data.length >= at + signature.length && signature.every((byte, i) => data[at + i] === byte)
  );
}

function bytes(...values: number[]): Uint8Array {
  return Uint8Array.from(values);
}

function ascii(text: string): Uint8Array {
  return Uint8Array.from(text, (character) => character.charCodeAt(0));
}
