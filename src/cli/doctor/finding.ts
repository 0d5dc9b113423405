// What a check of `napcat-vlm doctor` takes and gives: types only. A check is one function in a file of its own, listed
// in checks.ts; it changes nothing on this machine, and what breaks in it is a finding, not an exception.

import type { Language } from "../language.ts";
import type { probePictureHost } from "../picture-hosts.ts";
import type { Settings } from "../settings.ts";

export type { Language } from "../language.ts";

export type Verdict = "ok" | "warn" | "fail";

/** The same in both languages. A plain string reads the same in both: names, numbers, paths. */
export type Text = string | Readonly<Record<Language, string>>;

/** One line of the report. */
export interface Finding {
  readonly verdict: Verdict;
  readonly what: Text;
  readonly found: Text;
  /** What to do about it. */
  readonly advice?: Text;
}

export interface CheckContext {
  readonly settings: Settings;
  /** Never aborts in a check that runs in a process of its own: that process is ended instead. */
  readonly signal: AbortSignal;
  /** Link of a picture to be fetched as a test. */
  readonly picture?: string | undefined;
  /** Replaces the internet in tests. */
  readonly pictureHosts?: typeof probePictureHost;
}

export type Check = (
  context: CheckContext,
) => Finding | readonly Finding[] | Promise<Finding | readonly Finding[]>;
