// Pictures drawn on the spot, questions about them, and the answers that the tiny chat model has learned. In:
// nothing. Out: bytes of pictures as any bot gets them. Drawn point by point, so that every machine draws the same.

export interface DrawnQuestion {
  /** A BMP file. */
  readonly picture: Uint8Array;
  readonly question: string;
  readonly answer: string;
}

type Point = readonly [x: number, y: number];
type Rgb = readonly [red: number, green: number, blue: number];

/** In units of the radius, around the middle; y downwards. */
const SHAPES: Readonly<Record<string, readonly Point[]>> = {
  圆形: around(72, () => 1),
  正方形: [
    [-0.9, -0.9],
    [0.9, -0.9],
    [0.9, 0.9],
    [-0.9, 0.9],
  ],
  三角形: [
    [0, -1],
    [1, 0.85],
    [-1, 0.85],
  ],
  星形: around(10, (corner) => (corner % 2 === 0 ? 1 : 0.42)),
  十字: cross(0.33),
};

const COLORS: Readonly<Record<string, Rgb>> = {
  红色: [0xdc, 0x28, 0x28],
  绿色: [0x28, 0xa0, 0x3c],
  蓝色: [0x28, 0x50, 0xdc],
  黄色: [0xf0, 0xd2, 0x28],
  紫色: [0x8c, 0x3c, 0xb4],
  橙色: [0xf5, 0x8c, 0x1e],
  黑色: [0x14, 0x14, 0x14],
  粉色: [0xf5, 0x82, 0xb4],
};
const ENGLISH: Readonly<Record<string, string>> = {
  圆形: "circle",
  正方形: "square",
  三角形: "triangle",
  星形: "star",
  十字: "cross",
  红色: "red",
  绿色: "green",
  蓝色: "blue",
  黄色: "yellow",
  紫色: "purple",
  橙色: "orange",
  黑色: "black",
  粉色: "pink",
};
const PAPER: Rgb = [0xf7, 0xf6, 0xf2];
const CELL = 96;
const RADIUS = 0.39 * CELL;
/** Points looked at in each direction of a pixel. */
const SAMPLES = 4;

/** Sixty. Every shape in every colour: after the colour of all forty, and what every other one is. */
export function drawnQuestions(): DrawnQuestion[] {
  const all = Object.keys(SHAPES).flatMap((shape) =>
    Object.keys(COLORS).map((color) => ({ shape, color })),
  );
  const named = all
    .filter((_, index) => index % 2 === 0)
    .map(({ shape, color }) => ({
      picture: draw(shape, color),
      question: "图里有什么？",
      answer: `图里有一个${color}的${shape}。`,
    }));
  const colored = all.map(({ shape, color }) => ({
    picture: draw(shape, color),
    question: "它是什么颜色？",
    answer: `${color}。`,
  }));
  return [...named, ...colored];
}

/**
 * Two hundred: each shape in each colour is named, counted and named in English, its colour is told, and it is named with
 * another one beside it.
 */
export function twoHundredQuestions(): DrawnQuestion[] {
  const shapes = Object.keys(SHAPES);
  const colors = Object.keys(COLORS);
  return shapes.flatMap((shape, row) =>
    colors.flatMap((color, column) => {
      const picture = draw(shape, color);
      const beside = {
        shape: shapes[(row + 2) % shapes.length]!,
        color: colors[(column + 3) % colors.length]!,
      };
      const [first, second] = [`一个${color}的${shape}`, `一个${beside.color}的${beside.shape}`];
      const inEnglish = `${ENGLISH[color]!} ${ENGLISH[shape]!}`;
      const article = inEnglish.startsWith("orange") ? "an" : "a";
      return [
        { picture, question: "图里有什么？", answer: `图里有${first}。` },
        { picture, question: "它是什么颜色？", answer: `${color}。` },
        { picture, question: "有几个图形？", answer: "一个。" },
        {
          picture,
          question: "What is in the picture?",
          answer: `The picture shows ${article} ${inEnglish}.`,
        },
        {
          picture: drawRow([{ shape, color }, beside]),
          question: "图里有什么？",
          answer: `图里有${first}、${second}。`,
        },
      ];
    }),
  );
}

/** One shape on paper. */
function draw(shape: string, color: string): Uint8Array {
  return drawRow([{ shape, color }]);
}

/** Shapes on paper, from left to right. */
function drawRow(shown: readonly { readonly shape: string; readonly color: string }[]): Uint8Array {
  const width = shown.length * CELL;
  const pixels = new Uint8Array(3 * width * CELL);
  for (const [cell, { shape, color }] of shown.entries()) {
    const shares = coverageOf(shape);
    const ink = COLORS[color]!;
    for (let y = 0; y < CELL; y++) {
      for (let x = 0; x < CELL; x++) {
        const share = shares[y * CELL + x]!;
        for (let channel = 0; channel < 3; channel++) {
          const value = PAPER[channel]! * (1 - share) + ink[channel]! * share;
          pixels[3 * (y * width + cell * CELL + x) + channel] = Math.round(value);
        }
      }
    }
  }
  return bmp(pixels, width, CELL);
}

const coverages = new Map<string, Float64Array>();

/** Part of each pixel of a cell that lies inside; looked at once for all colours. */
function coverageOf(shape: string): Float64Array {
  const known = coverages.get(shape);
  if (known) return known;
  const outline = SHAPES[shape]!.map(
    ([x, y]): Point => [CELL / 2 + RADIUS * x, CELL / 2 + RADIUS * y],
  );
  const found = Float64Array.from({ length: CELL * CELL }, (_, pixel) =>
    coverage(outline, pixel % CELL, Math.floor(pixel / CELL)),
  );
  coverages.set(shape, found);
  return found;
}

/** Part of a pixel that lies inside. */
function coverage(outline: readonly Point[], x: number, y: number): number {
  let inside = 0;
  for (let row = 0; row < SAMPLES; row++) {
    for (let column = 0; column < SAMPLES; column++) {
      const point: Point = [x + (column + 0.5) / SAMPLES, y + (row + 0.5) / SAMPLES];
      if (contains(outline, point)) inside++;
    }
  }
  return inside / SAMPLES ** 2;
}

/** Does a ray to the right leave the outline an odd number of times? */
function contains(outline: readonly Point[], [x, y]: Point): boolean {
  let inside = false;
  for (const [index, [x1, y1]] of outline.entries()) {
    const [x2, y2] = outline.at(index - 1)!;
    if (y1 > y === y2 > y) continue;
    if (x < x1 + ((x2 - x1) * (y - y1)) / (y2 - y1)) inside = !inside;
  }
  return inside;
}

function around(corners: number, radiusOf: (corner: number) => number): Point[] {
  return Array.from({ length: corners }, (_, corner) => {
    const angle = (2 * Math.PI * corner) / corners - Math.PI / 2;
    return [radiusOf(corner) * Math.cos(angle), radiusOf(corner) * Math.sin(angle)];
  });
}

function cross(arm: number): Point[] {
  return [
    [-arm, -1],
    [arm, -1],
    [arm, -arm],
    [1, -arm],
    [1, arm],
    [arm, arm],
    [arm, 1],
    [-arm, 1],
    [-arm, arm],
    [-1, arm],
    [-1, -arm],
    [-arm, -arm],
  ];
}

/** A 24-bit BMP: rows from bottom to top, blue first, each row padded to four bytes. */
function bmp(pixels: Uint8Array, width: number, height: number): Uint8Array {
  const rowBytes = Math.ceil((3 * width) / 4) * 4;
  const file = new Uint8Array(54 + rowBytes * height);
  const view = new DataView(file.buffer);
  file.set([0x42, 0x4d]);
  view.setUint32(2, file.length, true);
  view.setUint32(10, 54, true);
  view.setUint32(14, 40, true);
  view.setInt32(18, width, true);
  view.setInt32(22, height, true);
  view.setUint16(26, 1, true);
  view.setUint16(28, 24, true);
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      const from = 3 * (y * width + x);
      const to = 54 + (height - 1 - y) * rowBytes + 3 * x;
      file.set([pixels[from + 2]!, pixels[from + 1]!, pixels[from]!], to);
    }
  }
  return file;
}
