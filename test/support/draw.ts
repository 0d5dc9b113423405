// Pictures drawn at test time, such as the tiny chat model of examples/tiny-chat knows them.
// In: names of shapes and colours, or a number. Out: the bytes of a picture file.
// Everything is an outline of our own: no font is needed, so every machine draws the same pixels.

import sharp from "sharp";

export type ShapeName = "circle" | "square" | "triangle" | "star" | "cross";
export type ColorName =
  | "red"
  | "green"
  | "blue"
  | "yellow"
  | "purple"
  | "orange"
  | "black"
  | "pink";
export type DrawnFormat = "png" | "jpeg" | "webp" | "gif";

export interface DrawnShape {
  readonly shape: ShapeName;
  readonly color: ColorName;
}

export interface DrawOptions {
  /** Pixels. Left out: one square cell for each shape or, for a number, as wide as it needs. */
  readonly width?: number;
  /** Pixels; the model is at its best with the defaults. @default 96 for shapes, 64 for numbers */
  readonly height?: number;
  /** @default "png" */
  readonly format?: DrawnFormat;
}

export const SHAPES = ["circle", "square", "triangle", "star", "cross"] as const;

export const COLORS: Readonly<Record<ColorName, string>> = {
  red: "#dc2828",
  green: "#28a03c",
  blue: "#2850dc",
  yellow: "#f0d228",
  purple: "#8c3cb4",
  orange: "#f58c1e",
  black: "#141414",
  pink: "#f582b4",
};

const PAPER = "#f7f6f2";
const INK = "#202020";
const SHAPES_HEIGHT = 96;
const DIGITS_HEIGHT = 64;

/** Draws shapes in a row, left to right, on light paper. The model knows no cross much larger than the default. */
export async function drawShapes(
  shapes: readonly DrawnShape[],
  options: DrawOptions = {},
): Promise<Buffer> {
  const height = options.height ?? SHAPES_HEIGHT;
  const width = options.width ?? height * Math.max(1, shapes.length);
  const cell = width / Math.max(1, shapes.length);
  const radius = Math.min(cell, height) * 0.39;
  const body = shapes.map(
    ({ shape, color }, index) =>
      `<path d="${outline(shape, cell * (index + 0.5), height / 2, radius)}" fill="${COLORS[color]}"/>`,
  );
  return render(width, height, body.join(""), options.format);
}

/** Draws a number in dark type on light paper. */
export async function drawDigits(digits: string, options: DrawOptions = {}): Promise<Buffer> {
  if (!/^\d+$/.test(digits)) throw new TypeError("Expected digits and nothing else");
  const height = options.height ?? DIGITS_HEIGHT;
  // In units of the box of a digit, which is 60 wide and 100 high.
  const length = 86 * digits.length - 26;
  const width =
    options.width ?? Math.round(Math.max(height, height * 0.6 + (height * 0.46 * length) / 100));
  const scale = Math.min((height * 0.46) / 100, (width * 0.86) / length);
  const left = (width - scale * length) / 2;
  const top = (height - scale * 100) / 2;
  const body = [...digits].map(
    (digit, index) =>
      `<path transform="translate(${left + scale * 86 * index} ${top}) scale(${scale})" d="${DIGITS[Number(digit)]}"/>`,
  );
  const pen = `fill="none" stroke="${INK}" stroke-width="10" stroke-linejoin="round"`;
  return render(width, height, `<g ${pen}>${body.join("")}</g>`, options.format);
}

function render(
  width: number,
  height: number,
  body: string,
  format: DrawnFormat = "png",
): Promise<Buffer> {
  const svg =
    `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${height}">` +
    `<rect width="100%" height="100%" fill="${PAPER}"/>${body}</svg>`;
  return sharp(Buffer.from(svg)).removeAlpha().toFormat(format, { quality: 95 }).toBuffer();
}

function outline(shape: ShapeName, x: number, y: number, radius: number): string {
  const around = (corners: number, radiusOf: (corner: number) => number): string => {
    const points = Array.from({ length: corners }, (_, corner) => {
      const angle = (2 * Math.PI * corner) / corners - Math.PI / 2;
      const r = radiusOf(corner);
      return `${x + r * Math.cos(angle)} ${y + r * Math.sin(angle)}`;
    });
    return `M${points.join("L")}Z`;
  };
  switch (shape) {
    case "circle":
      return `M${x - radius} ${y}a${radius} ${radius} 0 1 0 ${2 * radius} 0a${radius} ${radius} 0 1 0 ${-2 * radius} 0Z`;
    case "square": {
      const half = radius * 0.9;
      return `M${x - half} ${y - half}h${2 * half}v${2 * half}h${-2 * half}Z`;
    }
    case "triangle":
      return `M${x} ${y - radius}L${x + radius} ${y + radius * 0.85}H${x - radius}Z`;
    case "star":
      return around(10, (corner) => (corner % 2 === 0 ? radius : radius * 0.42));
    case "cross": {
      const arm = radius * 0.33;
      const rest = radius - arm;
      return `M${x - arm} ${y - radius}h${2 * arm}v${rest}h${rest}v${2 * arm}h${-rest}v${rest}h${-2 * arm}v${-rest}h${-rest}v${-2 * arm}h${rest}Z`;
    }
  }
}

/** Pen strokes of 0 to 9 in a box of 60 x 100. */
const DIGITS = [
  "M30 6C14 6 7 24 7 50S14 94 30 94 53 76 53 50 46 6 30 6Z",
  "M10 22L32 9V94M8 93.5H56",
  "M8 17C14 9 21 6 29 6C43 6 51 15 51 28C51 42 42 52 10 93.5H55",
  "M8 15C16 8 22 6 30 6C44 6 51 14 51 26C51 38 42 47 24 47C44 47 53 57 53 70C53 85 43 94 28 94C20 94 13 92 6 87",
  "M43 96V8L6 69H59",
  "M50 6.5H13V44C18 40 24 39 29 39C44 39 53 50 53 66C53 84 43 94 27 94C19 94 12 92 6 87",
  "M48 11C42 7 37 6 33 6C15 6 7 26 7 54C7 78 14 94 30 94C44 94 53 82 53 67C53 52 44 41 31 41C20 41 11 49 8 60",
  "M5 6.5H52L22 97",
  "M30 48C17 48 9 39 9 27S17 6 30 6S51 15 51 27S43 48 30 48C15 48 6 57 6 71S15 94 30 94S54 85 54 71S45 48 30 48Z",
  "M12 89C18 93 23 94 27 94C45 94 53 74 53 46C53 22 46 6 30 6C16 6 7 18 7 33C7 48 16 59 29 59C40 59 49 51 52 40",
] as const;
