// A box in the words of an answer: four coordinates in thousandths of the picture's sides, as the model was taught.
// In: text. Out: shares of the picture, or nothing. It knows no scores.

import type { Decision } from "./vision-language-model.ts";

type Box = Extract<Decision, { readonly type: "box" }>["box"];

/** What an answer with a box begins with, as the model was taught, and the form of what follows. */
export const BOX_HEAD = '{"bbox_2d": [';
/** A coordinate is a share of the picture's side in thousandths. */
const BOX_SCALE = 1000;
const COORDINATE = "(?:0|[1-9]\\d{0,2}|1000)";
export const BOX_PATTERN = `${COORDINATE}, ${COORDINATE}, ${COORDINATE}, ${COORDINATE}\\]`;

/** Of the last coordinate and what closes it, and of each one in front of it: every beginning of a coordinate is one. */
const BEGINNING = [1, 2, 3].reduce(
  (rest) => `(?:${COORDINATE}(?:,(?: ${rest})?)?)?`,
  `(?:${COORDINATE}\\]?)?`,
);
const WRITTEN = /"bbox_2d"\s*:\s*\[\s*(\d+\s*,\s*\d+\s*,\s*\d+\s*,\s*\d+\s*\])/u;

/** Can this become what {@link BOX_PATTERN} describes? */
export function beginsBox(text: string): boolean {
  return new RegExp(`^${BEGINNING}$`, "u").test(text);
}

/** Where the coordinates of a box stand in an answer; undefined: there is none. */
export function findBox(
  text: string,
): { readonly start: number; readonly end: number } | undefined {
  const alone = new RegExp(`^${BOX_PATTERN}`, "u").exec(text);
  if (alone) return { start: 0, end: alone[0].length };
  const written = WRITTEN.exec(text);
  if (!written) return undefined;
  const end = written.index + written[0].length;
  return { start: end - written[1]!.length, end };
}

/** @param text four numbers, with whatever stands between them */
export function boxOf(text: string): Box {
  const [x1 = 0, y1 = 0, x2 = 0, y2 = 0] = text
    .match(/\d+/gu)!
    .map((number) => Math.min(1, Number(number) / BOX_SCALE));
  return {
    left: Math.min(x1, x2),
    top: Math.min(y1, y2),
    right: Math.max(x1, x2),
    bottom: Math.max(y1, y2),
  };
}
