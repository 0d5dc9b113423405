// An answer as it is written in, whole sentences of it out, as early as it is certain that they are whole. Code, tables,
// formulas, links and emphasis are never cut. Everything comes out once and in order. It knows nothing of who reads it.

/** Fewer characters are no message of their own: they wait for the next sentence. */
const MIN_CHARACTERS = 20;

/** Where a sentence or a paragraph may end. What follows has to be known: quotation marks belong to the sentence. */
const ENDS =
  /[。！？…]+[”’"』」）)】*_~]*(?=[^。！？…”’"』」）)】*_~])|[.!?]+["')\]*_]*(?=\s)|\n[^\S\n]*\n+/gu;

const FENCE = /^ {0,3}(?:```|~~~)/gmu;
const TABLE_LINE = /^\s*\|/u;
/** What opens and closes with the same mark. */
const PAIRED = [/\*\*/gu, /(?<!`)`(?!`)/gu, /~~/gu, /\$\$/gu] as const;
/** The number of an item of a list is no sentence. */
const NUMBER = /(?:^|\n)\s*\d+[.]$/u;

/** Cuts an answer into messages while it is written. */
export class Sentences {
  #text = "";
  #taken = 0;

  /** Takes the next piece and returns what can be read by now; `""` for nothing. */
  push(piece: string): string {
    this.#text += piece;
    const rest = this.#text.slice(this.#taken);
    let end = 0;
    for (const match of rest.matchAll(ENDS)) {
      const position = match.index + match[0].length;
      if (isWhole(rest.slice(0, position), rest.slice(position))) end = position;
    }
    if (rest.slice(0, end).trim().length < MIN_CHARACTERS) return "";
    return this.#take(end);
  }

  /** All that is left, when the answer is complete and this is its text. */
  end(text: string): string {
    this.#text = text;
    return this.#take(text.length);
  }

  #take(length: number): string {
    const taken = this.#text.slice(this.#taken, this.#taken + length);
    this.#taken += taken.length;
    return taken;
  }
}

/** May a message end here? Not within anything that is open, nor in a table. */
function isWhole(before: string, after: string): boolean {
  if ((before.match(FENCE) ?? []).length % 2 === 1) return false;
  const prose = before.replace(/^ {0,3}(```|~~~)[\s\S]*?^ {0,3}\1[^\n]*$/gmu, "");
  if (PAIRED.some((mark) => (prose.match(mark) ?? []).length % 2 === 1)) return false;
  if (count(prose, /\\\[|\\\(/gu) > count(prose, /\\\]|\\\)/gu)) return false;
  if (count(prose, /\[/gu) > count(prose, /\]/gu)) return false;
  if (/\]\([^)\n]*$/u.test(prose) || NUMBER.test(before.trimEnd())) return false;
  const lastLine = before.trimEnd().split("\n").at(-1) ?? "";
  return !TABLE_LINE.test(lastLine) || /\n\s*\n$/u.test(before) || /^\s*\n\s*[^|\s]/u.test(after);
}

function count(text: string, pattern: RegExp): number {
  return (text.match(pattern) ?? []).length;
}
