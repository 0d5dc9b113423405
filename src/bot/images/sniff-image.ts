// The first bytes of a file in, whether they are those of some picture out. The model half decides which pictures it reads.

const SIGNATURES: readonly string[] = [
  "ffd8ff", // jpeg
  "89504e470d0a1a0a", // png
  "474946383761", // gif 87a
  "474946383961", // gif 89a
  "424d", // bmp
  "49492a00", // tiff, little-endian
  "4d4d002a", // tiff, big-endian
];

/** Do these bytes begin like a picture? Also `true` for formats no model reads, such as HEIC: that is a better answer later. */
export function sniffImage(data: Uint8Array): boolean {
  const head = Buffer.from(data.buffer, data.byteOffset, Math.min(data.byteLength, 16));
  const hex = head.toString("hex");
  if (SIGNATURES.some((signature) => hex.startsWith(signature))) return true;
  const ascii = head.toString("latin1");
  if (ascii.startsWith("RIFF") && ascii.slice(8, 12) === "WEBP") return true;
  // ISO media: avif, heic and their relatives.
  return ascii.slice(4, 8) === "ftyp" && /^(avi|hei|hev|mif1|msf1)/u.test(ascii.slice(8, 12));
}
