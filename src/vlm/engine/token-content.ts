// What the tokens of a sequence stand for, so that equal beginnings can be found again: ids, and for the tokens of a
// picture which picture it is and which part of it. Blocks of tokens are named by all that came before them as well.
// In: ids and pictures. Out: names and comparisons. It knows nothing of keys, values or caches.

import { createHash } from "node:crypto";

/** The tokens of one picture among others. */
export interface PictureSpan {
  /** Index of the first token. */
  readonly start: number;
  readonly length: number;
  /** Names the pixels and everything that decides how they are seen. */
  readonly key: string;
}

/** The tokens of a sequence so far. */
export class TokenContent {
  readonly pictures: readonly PictureSpan[];
  #ids: Int32Array;
  #length: number;
  /** Names of whole blocks, as far as they were asked for. */
  readonly #names: string[] = [];

  constructor(ids: Int32Array, pictures: readonly PictureSpan[] = []) {
    this.#ids = ids;
    this.#length = ids.length;
    this.pictures = pictures;
  }

  get length(): number {
    return this.#length;
  }

  /** Adds a token of text. */
  push(id: number): void {
    if (this.#length === this.#ids.length) {
      const longer = new Int32Array(2 * this.#length + 16);
      longer.set(this.#ids);
      this.#ids = longer;
    }
    this.#ids[this.#length++] = id;
  }

  /** Forgets all tokens from `length` on, which are text. */
  truncate(length: number): void {
    this.#length = Math.min(length, this.#length);
    this.#names.length = 0;
  }

  /** (end - start) */
  ids(start: number, end: number): Int32Array {
    return this.#ids.slice(start, Math.min(end, this.#length));
  }

  at(index: number): number {
    return this.#ids[index]!;
  }

  /** Name of the whole block with this index, and of everything in front of it. */
  blockName(index: number, blockTokens: number): string {
    for (let block = this.#names.length; block <= index; block++) {
      this.#names.push(this.#name(block, (block + 1) * blockTokens, blockTokens));
    }
    return this.#names[index]!;
  }

  /** Name of the tokens from the beginning of a block to `end`, and of everything in front of them. */
  tailName(end: number, blockTokens: number): string {
    return this.#name(Math.floor(end / blockTokens), end, blockTokens);
  }

  /** The tokens from `start` to `end`, to be compared later. */
  part(start: number, end: number): ContentPart {
    return { ids: this.ids(start, end), pictures: this.#spans(start, end) };
  }

  /** How many tokens from `start` on are the first ones of a part. */
  common(start: number, part: ContentPart): number {
    const limit = Math.min(part.ids.length, this.#length - start);
    const same = beforeOtherPicture(this.#spans(start, start + limit), part.pictures, limit);
    const ids = this.#ids;
    for (let i = 0; i < same; i++) if (part.ids[i] !== ids[start + i]) return i;
    return same;
  }

  #name(block: number, end: number, blockTokens: number): string {
    const start = block * blockTokens;
    const hash = createHash("sha256");
    if (block > 0) hash.update(this.blockName(block - 1, blockTokens));
    hash.update(this.ids(start, end));
    for (const { start: first, length, key } of this.#spans(start, end)) {
      hash.update(`${first}+${length}=${key}\n`);
    }
    return hash.digest("base64");
  }

  /** Pictures that reach into a part; their first token counted from its beginning. */
  #spans(start: number, end: number): PictureSpan[] {
    return this.pictures
      .filter((picture) => picture.start < end && picture.start + picture.length > start)
      .map((picture) => ({ ...picture, start: picture.start - start }));
  }
}

/** Tokens that follow some others. */
export interface ContentPart {
  readonly ids: Int32Array;
  /** `start` is counted from the beginning of the part, and negative for what began before. */
  readonly pictures: readonly PictureSpan[];
}

/** How many tokens come before the first one that stands for a part of a picture in one of them, and not in the other. */
function beforeOtherPicture(
  a: readonly PictureSpan[],
  b: readonly PictureSpan[],
  limit: number,
): number {
  const same = (one: PictureSpan, other: PictureSpan) =>
    one.start === other.start && one.length === other.length && one.key === other.key;
  const alone = [
    ...a.filter((span) => !b.some((other) => same(span, other))),
    ...b.filter((span) => !a.some((other) => same(span, other))),
  ];
  // A picture may have begun in front of what is compared.
  return Math.min(limit, ...alone.map(({ start }) => Math.max(0, start)));
}
