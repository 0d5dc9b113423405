// How fast this machine runs, from the runs themselves: milliseconds in, estimates and chunk sizes out.

/** Weight of the newest measurement: a change of load is noticed within a few runs. */
const NEWEST = 0.3;
/** A chunk is planned this much shorter than it may be: later tokens are slower, and the machine does other things too. */
const MARGIN = 0.7;
/** Smaller chunks would spend their time on reading weights. */
const FEWEST_TOKENS = 4;

/** Measured speed of a decoder and its eyes. */
export class Pace {
  /** Milliseconds of a token of a prompt, over all chunks. */
  #promptMs: number | undefined;
  /** The same by the size of the chunk, in powers of two: short ones take longer for each token. */
  readonly #chunkMs = new Map<number, number>();
  #pictureMs: number | undefined;
  /** Milliseconds of a decode step, by how many sequences it has. */
  readonly #stepMs = new Map<number, number>();

  /** A chunk of a prompt was computed. */
  prompt(tokens: number, ms: number): void {
    const size = sizeOf(tokens);
    this.#chunkMs.set(size, blend(this.#chunkMs.get(size), ms / tokens));
    // The last crumb of a prompt says nothing about long chunks.
    if (tokens >= FEWEST_TOKENS || this.#promptMs === undefined) {
      this.#promptMs = blend(this.#promptMs, ms / tokens);
    }
  }

  /** A picture was encoded. */
  picture(tokens: number, ms: number): void {
    this.#pictureMs = blend(this.#pictureMs, ms / tokens);
  }

  /** Several sequences went on by a token. */
  step(rows: number, ms: number): void {
    this.#stepMs.set(rows, blend(this.#stepMs.get(rows), ms));
  }

  /** Expected milliseconds until tokens and pictures (counted in tokens as well) are computed. */
  estimate(tokens: number, pictureTokens: number): number {
    return tokens * (this.#promptMs ?? 1) + pictureTokens * (this.#pictureMs ?? 1);
  }

  /** Expected milliseconds of a decode step: as measured, or as for the next larger measured. */
  stepMs(rows: number): number {
    const known = [...this.#stepMs].filter(([size]) => size >= rows).sort(([a], [b]) => a - b);
    return known[0]?.[1] ?? Math.max(0, ...this.#stepMs.values());
  }

  /** Tokens of a prompt that are computed within so many milliseconds, at most `most`. */
  chunkTokens(limitMs: number, most: number): number {
    if (this.#promptMs === undefined) return Math.min(most, FEWEST_TOKENS);
    let tokens = Math.floor((MARGIN * limitMs) / this.#promptMs);
    // Chunks of that size, or of the next that is known, took so long.
    const sizes = [...this.#chunkMs.keys()].sort((a, b) => a - b);
    const size = sizes.find((known) => known >= sizeOf(Math.max(tokens, 1)));
    const ofSize = size === undefined ? undefined : this.#chunkMs.get(size);
    if (ofSize !== undefined) tokens = Math.min(tokens, Math.floor((MARGIN * limitMs) / ofSize));
    return Math.min(most, Math.max(tokens, FEWEST_TOKENS));
  }
}

function sizeOf(tokens: number): number {
  return Math.floor(Math.log2(tokens));
}

function blend(before: number | undefined, now: number): number {
  return before === undefined ? now : before + NEWEST * (now - before);
}
