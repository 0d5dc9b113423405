// A long answer in, messages of bounded length out: cut between paragraphs, lines or sentences.
// Never inside a link, a code block that fits, or a character.

/** Where to cut, best first. A match ends where the next message begins. */
const BREAKS: readonly RegExp[] = [
  /\n[^\S\n]*\n+/gu,
  /\n/gu,
  /[。！？!?；;…]+[”’"』」）)】]*|\.(?=\s)/gu,
  /[，,、：:]|\s/gu,
];
/** Cutting earlier than this part of the limit makes more messages than it is worth. */
const MIN_FILL = 0.4;

const CODE_BLOCK = /```[\s\S]*?(?:```|$)/gu;
const LINK = /https?:\/\/[\x21-\x7e]+/gu;

/** Positions in a text. */
export interface Range {
  readonly start: number;
  readonly end: number;
}

/**
 * Splits text into messages of at most `maxCharacters` UTF-16 units.
 * Nothing but white space at the cuts is lost.
 *
 * @param whole parts to keep in one message where they fit into one, besides links and fenced code
 */
export function splitText(
  text: string,
  maxCharacters: number,
  whole: readonly Range[] = [],
): readonly string[] {
  const messages: string[] = [];
  let rest = text.trim();
  let at = text.length - text.trimStart().length;
  while (rest.length > maxCharacters) {
    const kept = whole.map(({ start, end }) => ({ start: start - at, end: end - at }));
    const cut = cutPosition(rest, maxCharacters, kept);
    messages.push(rest.slice(0, cut).trimEnd());
    const left = rest.slice(cut).trimStart();
    at += rest.length - left.length;
    rest = left;
  }
  return rest === "" ? messages : [...messages, rest];
}

function cutPosition(text: string, max: number, kept: readonly Range[]): number {
  const blocks = [...rangesOf(text, CODE_BLOCK), ...kept];
  const whole = [...blocks, ...rangesOf(text, LINK)].filter(({ start, end }) => end - start <= max);
  const allowed = (position: number) =>
    !whole.some(({ start, end }) => start < position && position < end);

  for (const pattern of BREAKS) {
    const cut = lastMatchEnd(text, pattern, max, allowed);
    if (cut >= max * MIN_FILL) return cut;
  }
  // No good place: in front of what must stay whole, or between two characters.
  const broken = whole.find(({ start, end }) => start > 0 && start < max && max < end);
  return broken?.start ?? characterStart(text, max);
}

function lastMatchEnd(
  text: string,
  pattern: RegExp,
  max: number,
  allowed: (position: number) => boolean,
): number {
  let best = 0;
  // White space behind the limit does no harm: it is trimmed away.
  for (const match of text.slice(0, max + 1).matchAll(pattern)) {
    const end = match.index + match[0].length;
    if (text.slice(0, end).trimEnd().length <= max && allowed(end)) best = end;
  }
  return best;
}

function rangesOf(text: string, pattern: RegExp): Range[] {
  return [...text.matchAll(pattern)].map(({ index, 0: match }) => ({
    start: index,
    end: index + match.length,
  }));
}

/** The start of the character at `position`, as people count characters: an emoji family is one. */
function characterStart(text: string, position: number): number {
  const character = new Intl.Segmenter().segment(text).containing(position);
  const start = character?.index ?? position;
  if (start > 0) return start;
  // One "character" longer than a message: at least keep surrogate pairs together.
  const low = text.charCodeAt(position);
  return low >= 0xdc00 && low <= 0xdfff ? position - 1 : position;
}
