// Which bytes of a file are there. In: ranges as they come, in any order. Out: what is covered, and what is missing in
// pieces of a size. It knows no file.

/** From `start` up to, and without, `end`. */
export interface ByteRange {
  readonly start: number;
  readonly end: number;
}

export class ByteRanges {
  /** In order, with gaps between them. */
  #ranges: ByteRange[] = [];

  /** Bytes covered. */
  get bytes(): number {
    return this.#ranges.reduce((sum, { start, end }) => sum + end - start, 0);
  }

  get ranges(): readonly ByteRange[] {
    return this.#ranges;
  }

  add({ start, end }: ByteRange): void {
    if (end <= start) return;
    const apart = this.#ranges.filter((range) => range.end < start || range.start > end);
    const touching = this.#ranges.filter((range) => range.end >= start && range.start <= end);
    const merged = {
      start: Math.min(start, ...touching.map((range) => range.start)),
      end: Math.max(end, ...touching.map((range) => range.end)),
    };
    this.#ranges = [...apart, merged].toSorted((a, b) => a.start - b.start);
  }

  /** The parts of `whole` that are not covered, in order. */
  missing(whole: ByteRange): ByteRange[] {
    const gaps: ByteRange[] = [];
    let at = whole.start;
    for (const { start, end } of this.#ranges) {
      if (start >= whole.end) break;
      if (start > at) gaps.push({ start: at, end: start });
      at = Math.max(at, end);
    }
    if (at < whole.end) gaps.push({ start: at, end: whole.end });
    return gaps;
  }
}

/** Cuts ranges at multiples of `bytes`, so that cuts of different runs meet. */
export function cutIntoPieces(ranges: readonly ByteRange[], bytes: number): ByteRange[] {
  return ranges.flatMap(({ start, end }) => {
    const pieces: ByteRange[] = [];
    for (let at = start; at < end; ) {
      const next = Math.min(end, (Math.floor(at / bytes) + 1) * bytes);
      pieces.push({ start: at, end: next });
      at = next;
    }
    return pieces;
  });
}
