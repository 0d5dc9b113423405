// Files made here that are not what they seem: cut at many places, in every format; animations; bytes in front.

import sharp from "sharp";
import { describe, expect, it } from "vitest";
import { ImageDecodeError } from "../../../src/vlm/errors.ts";
import { TimeSlice } from "../../../src/vlm/event-loop/time-slice.ts";
import { checkImageLimits } from "../../../src/vlm/image/decode-image.ts";
import { DEFAULT_PICTURE_NOTES } from "../../../src/vlm/image/picture-notes.ts";
import { readViews, type View } from "../../../src/vlm/image/picture-views.ts";
import { readPngChunks, writePng } from "../../../src/vlm/image/png-chunks.ts";
import type { RgbImage } from "../../../src/vlm/image/rgb-image.ts";
import { writeBmp } from "../../support/bmp.ts";
import { drawShapes } from "../../support/draw.ts";

const budget = { factor: 32, minPixels: 4096, maxPixels: 102_400 };

function views(data: Uint8Array, options: { maxFrames?: number; maxTiles?: number } = {}) {
  const all = {
    limits: checkImageLimits({}),
    alpha: "white" as const,
    budget,
    maxFrames: 4,
    maxTiles: 4,
    notes: DEFAULT_PICTURE_NOTES,
    ...options,
  };
  return readViews(data, all, new TimeSlice());
}

async function only(data: Uint8Array): Promise<View> {
  const [view, ...more] = await views(data);
  expect(more).toEqual([]);
  return view!;
}

/** A picture of which every row is different, so that what is made up shows. */
const WIDTH = 64;
const HEIGHT = 80;
const rgb = Buffer.from(
  Array.from({ length: WIDTH * HEIGHT * 3 }, (_, i) => {
    const [y, x] = [Math.floor(i / 3 / WIDTH), Math.floor(i / 3) % WIDTH];
    return (y * 3 + x * 2 + (i % 3) * 40 + ((x * y) % 7)) % 250;
  }),
);
const source = () => sharp(rgb, { raw: { width: WIDTH, height: HEIGHT, channels: 3 } });
const cut = (file: Uint8Array, share: number) => file.subarray(0, Math.floor(file.length * share));

function meanError(a: RgbImage, b: RgbImage): number {
  let sum = 0;
  for (let i = 0; i < a.pixels.length; i++) sum += Math.abs(a.pixels[i]! - b.pixels[i]!);
  return sum / a.pixels.length;
}

const FORMATS: Readonly<Record<string, () => Promise<Uint8Array>>> = {
  "a baseline jpeg": () => source().jpeg({ quality: 90 }).toBuffer(),
  "a jpeg in 4:4:4": () => source().jpeg({ chromaSubsampling: "4:4:4" }).toBuffer(),
  "a grey jpeg": () => source().greyscale().jpeg().toBuffer(),
  "a png": () => source().png().toBuffer(),
  "a png of many chunks": async () => splitIdat(await source().png().toBuffer()),
  "a png with a palette": () => source().png({ palette: true }).toBuffer(),
  "a png with alpha": () => source().ensureAlpha(0.9).png().toBuffer(),
  "a gif": () => source().gif().toBuffer(),
  "a lossy webp": () => source().webp({ quality: 90 }).toBuffer(),
  "a bmp": async () =>
    writeBmp({ width: WIDTH, height: -HEIGHT, bitsPerPixel: 24, pixels: [...rgb] }),
};

function splitIdat(file: Uint8Array): Uint8Array {
  const chunks = readPngChunks(file).flatMap((chunk) => {
    if (chunk.type !== "IDAT") return [chunk];
    const pieces = [];
    for (let at = 0; at < chunk.data.length; at += 500) {
      pieces.push({ type: "IDAT", data: chunk.data.subarray(at, at + 500) });
    }
    return pieces;
  });
  return writePng(chunks);
}

describe("files that were cut off", () => {
  it.each(Object.entries(FORMATS))("%s is seen as far as it came", async (_, make) => {
    const file = await make();
    const whole = await only(file);
    expect(whole.after).toBe("");
    for (const share of [0.75, 0.9]) {
      const { image, after } = await only(cut(file, share));
      expect(after).toBe(DEFAULT_PICTURE_NOTES.cut);
      expect(image.width).toBe(WIDTH);
      expect(image.height).toBeGreaterThan(HEIGHT * 0.4);
      expect(image.height).toBeLessThan(HEIGHT);
      const same = { ...whole.image, pixels: whole.image.pixels.subarray(0, image.pixels.length) };
      expect(meanError(image, same)).toBeLessThan(6);
    }
  });

  it("shows the lower part of a bitmap that is stored from the bottom", async () => {
    const file = writeBmp({ width: WIDTH, height: HEIGHT, bitsPerPixel: 24, pixels: [...rgb] });
    const whole = await only(file);
    const { image } = await only(cut(file, 0.6));
    expect(image.height).toBeGreaterThan(HEIGHT * 0.5);
    const tail = whole.image.pixels.subarray(whole.image.pixels.length - image.pixels.length);
    expect(Buffer.compare(image.pixels, tail)).toBe(0);
  });

  it("shows a progressive jpeg and an interlaced png", async () => {
    for (const file of [
      await source().jpeg({ progressive: true }).toBuffer(),
      await source().png({ progressive: true }).toBuffer(),
    ]) {
      const { image, after } = await only(cut(file, 0.8));
      expect(after).toBe(DEFAULT_PICTURE_NOTES.cut);
      expect(image.height).toBeGreaterThan(HEIGHT * 0.4);
    }
  });

  it("shows the whole frames of an animation that was cut in a later one", async () => {
    const frames = await Promise.all(
      (["circle", "square", "star"] as const).map((shape) => drawShapes([{ shape, color: "red" }])),
    );
    for (const format of ["gif", "webp"] as const) {
      const file = await sharp(frames, { join: { animated: true } })
        .toFormat(format)
        .toBuffer();
      expect((await views(cut(file, 0.7))).length).toBeGreaterThanOrEqual(1);
    }
  });

  it.each(Object.entries(FORMATS))("%s is refused when hardly anything came", async (_, make) => {
    const file = await make();
    await expect(views(file.subarray(0, Math.floor(file.length * 0.1)))).rejects.toMatchObject({
      name: "ImageDecodeError",
    });
  });

  it.each(["avif", "lossless webp"])(
    "a cut %s is refused: it cannot be read in part",
    async (kind) => {
      const file = await (kind === "avif"
        ? source().avif()
        : source().webp({ lossless: true })
      ).toBuffer();
      await expect(views(cut(file, 0.8))).rejects.toMatchObject({ code: "image-corrupt" });
    },
  );

  it("never crashes, wherever it is cut", async () => {
    for (const make of Object.values(FORMATS)) {
      const file = await make();
      for (let length = 1; length < file.length; length += Math.ceil(file.length / 15)) {
        const outcome = await views(file.subarray(0, length)).then(
          (seen) => seen.length,
          (reason: unknown) => (reason instanceof ImageDecodeError ? 1 : reason),
        );
        expect(outcome).toBe(1);
      }
    }
  });
});

describe("bytes in front", () => {
  it.each(Object.entries(FORMATS).filter(([name]) => name !== "a bmp"))(
    "%s is read behind junk",
    async (_, make) => {
      const file = await make();
      const whole = await only(file);
      for (const junk of ["\r\n", "\ufeff", "HTTP/1.1 200 OK\r\nContent-Type: image/x\r\n\r\n"]) {
        const { image, after } = await only(Buffer.concat([Buffer.from(junk), file]));
        expect(after).toBe("");
        expect(Buffer.compare(image.pixels, whole.image.pixels)).toBe(0);
      }
    },
  );

  it("are no picture when none follows", async () => {
    for (const text of [
      "GIF of a cat",
      "<html>\u0000\u0089PNG</html>",
      "\xff\xd8 text ".repeat(9),
    ]) {
      await expect(views(Buffer.from(text, "latin1"))).rejects.toMatchObject({
        code: "image-unsupported",
      });
    }
  });
});

describe("animations", () => {
  const drawn = () =>
    Promise.all(
      (["circle", "square", "triangle", "star", "cross"] as const).map((shape) =>
        drawShapes([{ shape, color: "blue" }]),
      ),
    );

  it.each(["gif", "webp"] as const)(
    "in %s show their different frames, with a note",
    async (format) => {
      const frames = await drawn();
      const repeated = [frames[0]!, frames[0]!, ...frames.slice(1), frames[4]!];
      const file = await sharp(repeated, { join: { animated: true } })
        .toFormat(format, { delay: repeated.map(() => 100) })
        .toBuffer();
      const seen = await views(file);
      expect(seen).toHaveLength(4);
      expect(seen.map(({ after }) => after)).toEqual(["", "", "", DEFAULT_PICTURE_NOTES.frames(4)]);
      expect(seen.reduce((sum, { budget }) => sum + budget.maxPixels, 0)).toBeLessThanOrEqual(
        budget.maxPixels,
      );
      expect(await views(file, { maxFrames: 1 })).toHaveLength(1);
    },
  );

  it("in png are drawn as they say: offsets, blending and disposal", async () => {
    const red = await rgba(4, 4, [255, 0, 0, 255]);
    const green = await rgba(2, 2, [0, 255, 0, 255]);
    const clear = await rgba(4, 4, [0, 0, 0, 0]);
    const file = apng(4, 4, [
      { file: clear, width: 4, height: 4 },
      { file: red, width: 4, height: 4 },
      { file: green, width: 2, height: 2, x: 1, y: 1, dispose: 2 },
      { file: green, width: 2, height: 2, x: 2, y: 2, dispose: 1 },
      { file: clear, width: 4, height: 4, blend: 1 },
    ]);
    const seen = await views(file, { maxFrames: 9 });
    // The empty first frame is not shown, nor one colour all over.
    const colours = seen.map(({ image }) => pixelAt(image, 1, 1) + pixelAt(image, 3, 3));
    expect(colours).toEqual(["00ff00ff0000", "ff000000ff00", "ff0000ffffff"]);
  });

  it("that are no animations stay what they are", async () => {
    const still = await drawShapes([{ shape: "star", color: "red" }], { format: "gif" });
    expect((await only(still)).before).toBe("");
  });
});

async function rgba(width: number, height: number, colour: readonly number[]): Promise<Buffer> {
  const pixels = Buffer.from(Array.from({ length: width * height }, () => colour).flat());
  return sharp(pixels, { raw: { width, height, channels: 4 } })
    .png()
    .toBuffer();
}

interface Frame {
  readonly file: Uint8Array;
  readonly width: number;
  readonly height: number;
  readonly x?: number;
  readonly y?: number;
  readonly dispose?: number;
  readonly blend?: number;
}

function apng(width: number, height: number, frames: readonly Frame[]): Uint8Array {
  const ihdr = Buffer.from(readPngChunks(frames[0]!.file)[0]!.data);
  ihdr.writeUInt32BE(width, 0);
  ihdr.writeUInt32BE(height, 4);
  const actl = Buffer.alloc(8);
  actl.writeUInt32BE(frames.length, 0);
  let sequence = 0;
  const body = frames.flatMap((frame, index) => {
    const control = Buffer.alloc(26);
    const fields = [sequence++, frame.width, frame.height, frame.x ?? 0, frame.y ?? 0];
    for (const [at, value] of fields.entries()) control.writeUInt32BE(value, at * 4);
    control.writeUInt16BE(1, 20);
    control.writeUInt16BE(10, 22);
    control[24] = frame.dispose ?? 0;
    control[25] = frame.blend ?? 0;
    const data = Buffer.concat(
      readPngChunks(frame.file)
        .filter(({ type }) => type === "IDAT")
        .map((chunk) => chunk.data),
    );
    const number = Buffer.alloc(4);
    if (index > 0) number.writeUInt32BE(sequence++);
    return [
      { type: "fcTL", data: control },
      index === 0 ? { type: "IDAT", data } : { type: "fdAT", data: Buffer.concat([number, data]) },
    ];
  });
  return writePng([
    { type: "IHDR", data: ihdr },
    { type: "acTL", data: actl },
    ...body,
    { type: "IEND", data: new Uint8Array() },
  ]);
}

function pixelAt({ width, pixels }: RgbImage, x: number, y: number): string {
  const at = (y * width + x) * 3;
  return Buffer.from(pixels.subarray(at, at + 3)).toString("hex");
}
