import { describe, expect, it } from "vitest";
import { detectMediaType, isReadable } from "../../../src/vlm/image/media-type.ts";

const latin = (text: string) => Buffer.from(text, "latin1");
const box = (...brands: string[]) => {
  // size, "ftyp", major brand, version, compatible brands
  const [major = "", ...compatible] = brands;
  const body = latin(`ftyp${major}\0\0\0\0${compatible.join("")}`);
  const size = Buffer.alloc(4);
  size.writeUInt32BE(body.length + 4);
  return Buffer.concat([size, body]);
};
const bitmap = (headerBytes: number) => {
  const data = Buffer.alloc(64);
  data.write("BM");
  data.writeUInt32LE(headerBytes, 14);
  return data;
};

describe("detectMediaType", () => {
  it.each([
    ["image/jpeg", latin("\xff\xd8\xff\xe0\0\x10JFIF")],
    ["image/png", latin("\x89PNG\r\n\x1a\n\0\0\0\rIHDR")],
    ["image/gif", latin("GIF87a\x01\0\x01\0")],
    ["image/gif", latin("GIF89a\x01\0\x01\0")],
    ["image/webp", latin("RIFF\x24\0\0\0WEBPVP8 ")],
    ["image/avif", box("avif", "mif1", "miaf")],
    ["image/avif", box("mif1", "avif")],
    ["image/avif", box("avis", "msf1")],
    ["image/bmp", bitmap(40)],
    ["image/bmp", bitmap(12)],
    ["image/bmp", bitmap(124)],
  ])("knows %s", (type, data) => {
    expect(detectMediaType(data)).toBe(type);
    expect(isReadable(detectMediaType(data))).toBe(true);
  });

  it.each([
    ["image/heic", box("heic", "mif1", "heic")],
    ["image/heic", box("mif1", "heic")],
    ["image/heic", box("heix")],
    ["image/heif", box("mif1", "miaf")],
    ["video/mp4", box("isom", "mp42")],
    ["image/jxl", latin("\xff\x0a\0\0")],
    ["image/jxl", latin("\0\0\0\x0cJXL \r\n\x87\n")],
    ["image/tiff", latin("II*\0\x08\0\0\0")],
    ["image/tiff", latin("MM\0*\0\0\0\x08")],
    ["image/svg+xml", Buffer.from('<svg xmlns="http://www.w3.org/2000/svg"/>')],
    ["image/svg+xml", Buffer.from('\ufeff  <?xml version="1.0"?>\n<!-- x --><svg width="1"/>')],
    ["text/html", Buffer.from("\n<!DOCTYPE html><html></html>")],
    ["text/html", Buffer.from("<HTML lang=en>")],
    ["text/xml", Buffer.from('<?xml version="1.0"?><Error/>')],
    ["application/json", Buffer.from('{"retcode":-5503007,"retmsg":"download url has expired"}')],
    ["application/json", Buffer.from(' [ {"a":1} ]')],
    ["application/pdf", latin("%PDF-1.7")],
    ["application/zip", latin("PK\x03\x04")],
  ])("knows %s only to refuse it", (type, data) => {
    expect(detectMediaType(data)).toBe(type);
    expect(isReadable(detectMediaType(data))).toBe(false);
  });

  it.each([
    ["nothing", Buffer.alloc(0)],
    ["one byte", Buffer.of(0xff)],
    ["zeros", Buffer.alloc(64)],
    ["a sound in RIFF", latin("RIFF\x24\0\0\0WAVEfmt ")],
    ["text that begins like a bitmap", Buffer.from("BMW is a maker of cars, and so on and so on")],
    ["plain text", Buffer.from("image not found")],
    ["a cut box", latin("\0\0\0\x18ft")],
  ])("says nothing about %s", (_, data) => {
    expect(detectMediaType(data)).toBeUndefined();
  });

  it("reads a box with a lying size without going astray", () => {
    const data = box("mif1", "avif");
    data.writeUInt32BE(0xffffffff);
    expect(detectMediaType(data)).toBe("image/avif");
    data.writeUInt32BE(0);
    expect(detectMediaType(data)).toBe("image/heif");
  });
});
