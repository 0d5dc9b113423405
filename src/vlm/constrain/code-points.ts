// Sets of Unicode code points, as sorted ranges. In: ranges in any order. Out: unions, complements, and the byte
// sequences of UTF-8 that spell a set. Surrogates are no code points of a text and fall out. It knows no expressions.

/** First and last code point. */
export type CodePointRange = readonly [first: number, last: number];

/** Sorted, without overlaps. */
export type CodePoints = readonly CodePointRange[];

const MAX = 0x10_ffff;

export const ANY: CodePoints = [
  [0, 0xd7ff],
  [0xe000, MAX],
];

/** The same set, sorted and joined, without surrogates. */
export function union(...sets: readonly CodePoints[]): CodePoints {
  const sorted = sets
    .flat()
    .flatMap(([first, last]): CodePointRange[] => [
      [first, Math.min(last, 0xd7ff)],
      [Math.max(first, 0xe000), last],
    ])
    .filter(([first, last]) => first <= last)
    .sort(([a], [b]) => a - b);
  const joined: [number, number][] = [];
  for (const [first, last] of sorted) {
    const before = joined.at(-1);
    if (before && first <= before[1] + 1) before[1] = Math.max(before[1], last);
    else joined.push([first, last]);
  }
  return joined;
}

/** Everything else. */
export function complement(set: CodePoints): CodePoints {
  const rest: CodePointRange[] = [];
  let next = 0;
  for (const [first, last] of union(set)) {
    if (first > next) rest.push([next, first - 1]);
    next = last + 1;
  }
  if (next <= MAX) rest.push([next, MAX]);
  return union(rest);
}

export function without(set: CodePoints, taken: CodePoints): CodePoints {
  return complement(union(complement(set), taken));
}

export function only(set: CodePoints, kept: CodePoints): CodePoints {
  return without(set, complement(kept));
}

/** Bytes, one range for each place; all combinations are meant. */
export type ByteRanges = readonly (readonly [first: number, last: number])[];

/** Code points of as many bytes, up to these. */
const LENGTHS = [0x7f, 0x7ff, 0xffff, MAX] as const;

/** The UTF-8 of a set, as sequences of byte ranges. */
export function utf8Sequences(set: CodePoints): ByteRanges[] {
  return union(set).flatMap(([first, last]) => {
    let from = first;
    return LENGTHS.flatMap((limit) => {
      if (from > limit || from > last) return [];
      const to = Math.min(last, limit);
      const sequences = ofOneLength(encode(from), encode(to));
      from = to + 1;
      return sequences;
    });
  });
}

/** Between two spellings of the same length, both included. */
function ofOneLength(from: readonly number[], to: readonly number[]): ByteRanges[] {
  const [first = 0, ...restFrom] = from;
  const [last = 0, ...restTo] = to;
  if (restFrom.length === 0) return [[[first, last]]];
  const behind = (byte: number, rests: readonly ByteRanges[]): ByteRanges[] =>
    rests.map((rest) => [[byte, byte], ...rest]);
  if (first === last) return behind(first, ofOneLength(restFrom, restTo));
  const lowest = restFrom.map(() => 0x80);
  const highest = restFrom.map(() => 0xbf);
  const fromWhole = restFrom.every((byte) => byte === 0x80);
  const toWhole = restTo.every((byte) => byte === 0xbf);
  const low = fromWhole ? first : first + 1;
  const high = toWhole ? last : last - 1;
  const anything: ByteRanges = lowest.map((byte, i) => [byte, highest[i]!] as const);
  return [
    ...(fromWhole ? [] : behind(first, ofOneLength(restFrom, highest))),
    ...(low <= high ? [[[low, high] as const, ...anything]] : []),
    ...(toWhole ? [] : behind(last, ofOneLength(lowest, restTo))),
  ];
}

function encode(codePoint: number): number[] {
  return [...Buffer.from(String.fromCodePoint(codePoint), "utf8")];
}
