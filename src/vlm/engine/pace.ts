// How fast this machine runs, from the runs themselves: milliseconds in, estimates and chunk sizes out.

/** Weight of the newest measurement: a change of load is noticed within a few runs. */
const NEWEST = 0.3;
/**
 * A chunk is planned shorter than it may be, by so many times the usual error of plans: later tokens are slower, and the
 * machine does other things too. At least and at most so much of the time is left.
 */
const ERRORS = 2;
const MARGINS = { least: 0.05, most: 0.3 };
/** Until there were plans to compare with. */
const FIRST_ERROR = 0.075;
/** Smaller chunks would spend their time on reading weights. */
const FEWEST_TOKENS = 4;

/** Measured speed of a decoder and its eyes. */
export class Pace {
  readonly #chunks = new ChunkTimes();
  #pictureMs: number | undefined;
  /** Milliseconds of a decode step, by how many sequences it has. */
  readonly #stepMs = new Map<number, number>();
  /** What another's token adds to a chunk. */
  #joinedMs: number | undefined;
  /** How far chunks were from what was expected of them, as a share. */
  #error = FIRST_ERROR;

  /** A chunk of a prompt was computed. */
  prompt(tokens: number, ms: number): void {
    this.#compare(this.#chunks.expected(tokens), ms);
    this.#chunks.add(tokens, ms);
  }

  /** A chunk of a prompt was computed, and in the same run the next tokens of so many others. */
  together(tokens: number, rows: number, ms: number): void {
    const alone = this.#chunks.expected(tokens);
    if (alone !== undefined) {
      this.#compare(alone + this.joinedMs(rows), ms);
      this.#joinedMs = blend(this.#joinedMs, Math.max(0, ms - alone) / rows);
    }
    this.#chunks.add(tokens, Math.max(ms / 2, ms - this.joinedMs(rows)));
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
    return tokens * (this.#chunks.msOfToken ?? 1) + pictureTokens * (this.#pictureMs ?? 1);
  }

  /** Expected milliseconds of a decode step: as measured, or as for the next larger measured. */
  stepMs(rows: number): number {
    const known = [...this.#stepMs].filter(([size]) => size >= rows).sort(([a], [b]) => a - b);
    return known[0]?.[1] ?? Math.max(0, ...this.#stepMs.values());
  }

  /** Expected milliseconds that the next tokens of so many others add to a chunk; at first, what their own run takes. */
  joinedMs(rows: number): number {
    return this.#joinedMs === undefined ? this.stepMs(rows) : this.#joinedMs * rows;
  }

  /** Tokens of a prompt that are computed within so many milliseconds, at most `most`. */
  chunkTokens(limitMs: number, most: number): number {
    return Math.min(most, Math.max(this.tokensWithin(limitMs), FEWEST_TOKENS));
  }

  /** The same, and none or fewer where there is no time; none before the first measurement. */
  tokensWithin(limitMs: number): number {
    const margin = Math.min(Math.max(ERRORS * this.#error, MARGINS.least), MARGINS.most);
    return this.#chunks.within((1 - margin) * limitMs) ?? 0;
  }

  #compare(expected: number | undefined, ms: number): void {
    if (expected !== undefined) this.#error = blend(this.#error, Math.abs(1 - expected / ms));
  }
}

/**
 * What chunks take: something for the run, and something for each token. A line through the latest measurements, in which
 * older ones count less and less.
 */
class ChunkTimes {
  #weight = 0;
  #tokens = 0;
  #ms = 0;
  #tokensSquared = 0;
  #product = 0;

  add(tokens: number, ms: number): void {
    const older = 1 - NEWEST;
    this.#weight = this.#weight * older + 1;
    this.#tokens = this.#tokens * older + tokens;
    this.#ms = this.#ms * older + ms;
    this.#tokensSquared = this.#tokensSquared * older + tokens * tokens;
    this.#product = this.#product * older + tokens * ms;
  }

  /** Of a token in a chunk of the usual size; undefined before the first measurement. */
  get msOfToken(): number | undefined {
    return this.#weight === 0 ? undefined : this.#ms / this.#tokens;
  }

  /** Milliseconds of a chunk. */
  expected(tokens: number): number | undefined {
    const line = this.#line();
    return line && line.ofRun + line.ofToken * tokens;
  }

  /** Tokens of a chunk that takes so long. */
  within(limitMs: number): number | undefined {
    const line = this.#line();
    return line && Math.floor((limitMs - line.ofRun) / line.ofToken);
  }

  #line(): { readonly ofRun: number; readonly ofToken: number } | undefined {
    if (this.#weight === 0) return undefined;
    const [tokens, ms] = [this.#tokens / this.#weight, this.#ms / this.#weight];
    const spread = this.#tokensSquared / this.#weight - tokens * tokens;
    // Chunks of about the same size say nothing about what a run takes by itself.
    const alike = spread < (tokens / 8) ** 2;
    const slope = alike ? ms / tokens : (this.#product / this.#weight - tokens * ms) / spread;
    // Noise can make a line that falls, or one that begins below nothing.
    const ofToken = Math.min(Math.max(slope, ms / tokens / 4), ms / tokens);
    return { ofRun: ms - ofToken * tokens, ofToken };
  }
}

function blend(before: number | undefined, now: number): number {
  return before === undefined ? now : before + NEWEST * (now - before);
}
