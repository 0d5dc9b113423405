// One line of the report of `napcat-vlm doctor`: types only.

export type Verdict = "ok" | "warn" | "fail";

export interface Finding {
  readonly verdict: Verdict;
  readonly what: string;
  readonly found: string;
  /** What to do about it. */
  readonly advice?: string;
}
