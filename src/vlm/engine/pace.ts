// How fast this machine runs, from the runs themselves: milliseconds in, estimates and chunk sizes out.

/** Weight of the newest measurement: a change of load is noticed within a few runs. */
const NEWEST = 0.3;
/**
 * A chunk is planned shorter than it may be, by so many times the usual error of plans: later tokens are slower, and the
 * machine does other things too. At least and at most so much of the time is left.
 */
const ERRORS = 2;
const MARGINS = { least: 0.04, most: 0.3 };
/** Of that, so much may be used up where a run less will do. */
const SPARED_RUN = 1 / 2;
/** Until there were plans to compare with. */
const FIRST_ERROR = 0.075;
/** A step takes so many times as long while a picture is encoded: both want the same cores. */
const BESIDE_PICTURE = 2;
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
    this.#compare(this.#expected(tokens), ms);
    this.#chunks.add(tokens, ms);
  }

  /** A chunk of a prompt was computed, and in the same run the next tokens of so many others. */
  together(tokens: number, rows: number, ms: number): void {
    const alone = this.#expected(tokens);
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

  /** Several sequences went on by a token. @param beside while a picture was encoded */
  step(rows: number, ms: number, beside = false): void {
    const alone = beside ? ms / BESIDE_PICTURE : ms;
    this.#stepMs.set(rows, blend(this.#stepMs.get(rows), alone));
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

  /** The same while a picture is encoded. */
  stepBesideMs(rows: number): number {
    return BESIDE_PICTURE * this.stepMs(rows);
  }

  /** Expected milliseconds that the next tokens of so many others add to a chunk; at first, as if they were its own. */
  joinedMs(rows: number): number {
    const ofRow = this.#joinedMs ?? this.#chunks.ofToken(this.#stepMs.get(1));
    return ofRow === undefined ? this.stepMs(rows) : ofRow * rows;
  }

  /** Tokens of a prompt that are computed within so many milliseconds, at most `most`. */
  chunkTokens(limitMs: number, most: number): number {
    return Math.min(most, Math.max(this.tokensWithin(limitMs), FEWEST_TOKENS));
  }

  /** The same of a prompt of which so much is left, cut into pieces of one size, and into one less if it nearly fits. */
  evenChunk(limitMs: number, most: number, remaining: number): number {
    const fitting = this.#tokensWithin(limitMs, SPARED_RUN);
    const pieces = Math.ceil(remaining / Math.min(most, Math.max(fitting, FEWEST_TOKENS)));
    return Math.ceil(remaining / pieces);
  }

  /** The same, and none or fewer where there is no time; none before the first measurement. */
  tokensWithin(limitMs: number): number {
    return this.#tokensWithin(limitMs, 1);
  }

  #tokensWithin(limitMs: number, shareOfMargin: number): number {
    const margin = Math.min(Math.max(ERRORS * this.#error, MARGINS.least), MARGINS.most);
    const left = (1 - shareOfMargin * margin) * limitMs;
    return this.#chunks.within(left, this.#stepMs.get(1)) ?? 0;
  }

  #expected(tokens: number): number | undefined {
    return this.#chunks.expected(tokens, this.#stepMs.get(1));
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

  /** Milliseconds that one more token takes. @param oneMs of a run of one token, where that is known */
  ofToken(oneMs?: number): number | undefined {
    return this.#line(oneMs)?.ofToken;
  }

  /** Milliseconds of a chunk. @param oneMs as above */
  expected(tokens: number, oneMs?: number): number | undefined {
    const line = this.#line(oneMs);
    return line && line.ofRun + line.ofToken * tokens;
  }

  /** Tokens of a chunk that takes so long. @param oneMs as above */
  within(limitMs: number, oneMs?: number): number | undefined {
    const line = this.#line(oneMs);
    return line && Math.floor((limitMs - line.ofRun) / line.ofToken);
  }

  #line(
    oneMs: number | undefined,
  ): { readonly ofRun: number; readonly ofToken: number } | undefined {
    if (this.#weight === 0) return undefined;
    const [tokens, ms] = [this.#tokens / this.#weight, this.#ms / this.#weight];
    const slope = this.#slope(tokens, ms, oneMs);
    // Noise can make a line that falls, or one that begins below nothing.
    const ofToken = Math.min(Math.max(slope, ms / tokens / 4), ms / tokens);
    return { ofRun: ms - ofToken * tokens, ofToken };
  }

  /** @param tokens, ms of the middle of all chunks */
  #slope(tokens: number, ms: number, oneMs: number | undefined): number {
    const spread = this.#tokensSquared / this.#weight - tokens * tokens;
    if (spread >= (tokens / 8) ** 2) return (this.#product / this.#weight - tokens * ms) / spread;
    // Chunks of about the same size say nothing about what a run takes by itself; a step of one token does.
    return oneMs === undefined || tokens <= 1 ? ms / tokens : (ms - oneMs) / (tokens - 1);
  }
}

function blend(before: number | undefined, now: number): number {
  return before === undefined ? now : before + NEWEST * (now - before);
}
