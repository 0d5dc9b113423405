// Stop strings: text goes through until one of them appears.
// In: pieces of text, cut anywhere. Out: what may be shown. The result does not depend on where the pieces were cut.

/** Lets text through up to the first stop string, holding back what could be the beginning of one. */
export class StopStrings {
  readonly #stops: readonly string[];
  #held = "";
  #matched: string | undefined;

  /** @param stops Lone surrogates in them count as U+FFFD, as they do in the text. */
  constructor(stops: readonly string[]) {
    this.#stops = stops
      .filter((stop) => stop !== "")
      .map((stop) => stop.replace(/\p{Surrogate}/gu, "\uFFFD"));
  }

  /** The stop string that ended the text; undefined as long as none did. */
  get matched(): string | undefined {
    return this.#matched;
  }

  /** Takes the next piece and returns what is safe to show. */
  push(text: string): string {
    if (this.#matched !== undefined) return "";
    const pending = this.#held + text;
    const match = this.#firstMatch(pending);
    if (match) {
      this.#matched = match.stop;
      this.#held = "";
      return pending.slice(0, match.start);
    }
    const safe = pending.length - this.#longestBeginning(pending);
    this.#held = pending.slice(safe);
    return pending.slice(0, safe);
  }

  /** Nothing more will come: returns what was held back. */
  flush(): string {
    const held = this.#held;
    this.#held = "";
    return held;
  }

  /** The match that is complete first; of two that end together, the one that begins first. */
  #firstMatch(text: string): { readonly stop: string; readonly start: number } | undefined {
    let first: { readonly stop: string; readonly start: number; readonly end: number } | undefined;
    for (const stop of this.#stops) {
      const start = text.indexOf(stop);
      if (start === -1) continue;
      const end = start + stop.length;
      if (!first || end < first.end || (end === first.end && start < first.start)) {
        first = { stop, start, end };
      }
    }
    return first;
  }

  /** How much of the end of the text is the beginning of a stop string. */
  #longestBeginning(text: string): number {
    let longest = 0;
    for (const stop of this.#stops) {
      for (let n = Math.min(stop.length - 1, text.length); n > longest; n--) {
        if (text.endsWith(stop.slice(0, n))) longest = n;
      }
    }
    return longest;
  }
}
