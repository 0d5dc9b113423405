// How much time a measurement may take, and what did not fit. In: figures by name, with how long they should take by what
// was measured before. Out: figures, and the names of those that were left out.

/** Begins to run when it is made. */
export class TimeBudget {
  readonly leftOut: string[] = [];
  /** Figures of one run, which had to do without a run before it. */
  readonly firstRuns: string[] = [];
  readonly #end: number;
  readonly #now: () => number;

  constructor(
    budgetMs: number = Number.POSITIVE_INFINITY,
    now: () => number = () => performance.now(),
  ) {
    this.#now = now;
    this.#end = now() + budgetMs;
  }

  get spent(): boolean {
    return !this.has(0);
  }

  /** Is there still so much time? */
  has(expectedMs: number): boolean {
    return this.#now() + expectedMs < this.#end;
  }

  /** The figure, unless it is not to be expected in time. */
  async fit<T>(
    name: string,
    expectedMs: number,
    measure: () => Promise<T>,
  ): Promise<T | undefined> {
    if (this.has(expectedMs)) return measure();
    this.leftOut.push(name);
    return undefined;
  }
}
