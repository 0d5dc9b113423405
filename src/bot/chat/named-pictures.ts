// Which earlier pictures a question speaks of: by number, as the one before, or as all of them; and whether it points
// back to what was just spoken of.
// In: what somebody asked and the numbers of the pictures of the chat. Out: numbers. It knows no pictures.

/** The pictures of a chat as a question finds them, each by its number. */
export interface NumberedPictures {
  /** Earlier pictures that can still be seen, oldest first. */
  readonly earlier: readonly number[];
  /** Those of the question itself. */
  readonly own: readonly number[];
}

const DIGITS = "一二三四五六七八九十";
const NUMBER = `(\\d{1,3}|[${DIGITS}])`;
const ORDINALS = ["first", "second", "third", "fourth", "fifth", "sixth", "seventh", "eighth"];

/** 第2张, 第三个图 */
const CHINESE_ORDINAL = new RegExp(`第\\s*${NUMBER}\\s*(?:张|幅|个图|图)`, "gu");
/** 图1, 图片 2, Picture 3, image #4 */
const NUMBERED = new RegExp(
  `(?:图片?|照片|\\b(?:picture|image|photo|pic)s?)\\s*#?\\s*${NUMBER}(?![\\d.]*[元块人个只条])`,
  "giu",
);
const ENGLISH_ORDINAL = new RegExp(
  `\\b(${ORDINALS.join("|")})\\s+(?:picture|image|photo|one)\\b`,
  "giu",
);
/** 刚才那张 is the newest one: of those before it, if the question brings its own. */
const JUST_NOW = /(?:刚才|刚刚)(?:的|那)?(?:一)?(?:张|幅|个图|图)/u;
const PREVIOUS =
  /(?:上|前)(?:面)?(?:一|那)?(?:张|幅|个图)|(?:之前|先前)(?:的|那)?(?:一)?(?:张|幅|个图|图)|\b(?:previous|earlier|preceding)\s+(?:picture|image|photo|one)\b/iu;
/** 两张, 这三张: the latest so many; 前三张 is said of the first ones and is left to 第. */
const SEVERAL = /(?<!第)([两2-9二三四五六])\s*(?:张|幅)/u;
const ALL =
  /(?:所有|全部)的?(?:图|照片)|(?:每|几|哪)\s*(?:一)?(?:张|幅|个图)|\b(?:all|each|every|both|which)\b.*\b(?:pictures?|images?|photos?)\b/iu;

/** 第二张 alone, the third one: counted off, and not called by a number or as a picture. */
const COUNTED = new RegExp(
  `第\\s*[${DIGITS}]\\s*(?:张|幅)(?!\\s*(?:图|照片))|\\b(?:${ORDINALS.join("|")})\\s+one\\b`,
  "iu",
);
/** 它是什么颜色: of whatever was spoken of last, which need not be the newest picture. */
const POINTS_BACK = /[它她]|(?<![其吉])他|\b(?:it|its|he|his|him|she|her|they|their|them)\b/iu;

/** Does a question count pictures off ("第二张是什么"), so that their places in a row tell which is meant? */
export function countsPictures(question: string): boolean {
  return COUNTED.test(question);
}

/** Does a question speak of what the one before it was about? */
export function pointsBack(question: string): boolean {
  return POINTS_BACK.test(question);
}

/** The numbers of earlier pictures that a question speaks of, in order; empty if of none. */
export function namedPictures(
  question: string,
  { earlier, own }: NumberedPictures,
): readonly number[] {
  const all = [...earlier, ...own];
  const named = new Set<number>();
  // Of several pictures sent together, "the second" is the second of them.
  if (own.length < 2) for (const number of ordinals(question)) named.add(number);
  if (JUST_NOW.test(question) && own.length > 0) named.add(earlier.at(-1) ?? 0);
  if (PREVIOUS.test(question)) named.add(all.at(-2) ?? 0);
  const several = SEVERAL.exec(question)?.[1];
  if (several !== undefined && own.length < 2) {
    for (const number of all.slice(-toNumber(several))) named.add(number);
  }
  if (ALL.test(question) && own.length < 2) for (const number of all) named.add(number);
  return earlier.filter((number) => named.has(number));
}

function ordinals(question: string): number[] {
  const found = (pattern: RegExp) => [...question.matchAll(pattern)].map((match) => match[1] ?? "");
  return [
    ...[...found(CHINESE_ORDINAL), ...found(NUMBERED)].map(toNumber),
    ...found(ENGLISH_ORDINAL).map((word) => ORDINALS.indexOf(word.toLowerCase()) + 1),
  ];
}

function toNumber(text: string): number {
  if (text === "两") return 2;
  const digit = DIGITS.indexOf(text);
  return digit === -1 ? Number(text) : digit + 1;
}
