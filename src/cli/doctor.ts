// What is there and what is missing, for somebody who sets up a bot or reports a bug. In: settings. Out: a report, one
// line for each finding, and an exit code. It changes nothing on this machine; what it asks is in doctor/checks.ts.

import { packageVersion } from "../package-root.ts";
import { CHECKS } from "./doctor/checks.ts";
import type { Check, CheckContext, Finding } from "./doctor/finding.ts";
import { JsonReport, TextReport } from "./doctor/report.ts";
import { privateThings } from "./doctor/shown.ts";
import { describeFailure } from "./errors.ts";
import { type Language, systemLanguage } from "./language.ts";
import type { Settings } from "./settings.ts";
import { print } from "./terminal.ts";

export interface DoctorOptions {
  readonly signal: AbortSignal;
  /** @default what this computer speaks */
  readonly language?: Language | undefined;
  readonly json?: boolean;
  /** Link of a picture to be fetched as a test. */
  readonly picture?: string | undefined;
  /** For tests. */
  readonly checks?: readonly Check[];
}

/** Prints every finding; resolves to exit code 1 if something has to be done, else 0. */
export async function doctor(settings: Settings, options: DoctorOptions): Promise<number> {
  const { signal, language = systemLanguage(), json = false, checks = CHECKS, picture } = options;
  const secrets = privateThings([settings.napcat?.token, settings.debugToken]);
  const Form = json ? JsonReport : TextReport;
  const report = new Form({ language, private: secrets, print }, packageVersion());
  for (const check of checks) {
    const findings = await look(check, { settings, signal, picture });
    for (const finding of findings) report.add(finding);
  }
  return report.end() === 0 ? 0 : 1;
}

/** A check that breaks is a line of the report as well. */
async function look(check: Check, context: CheckContext): Promise<readonly Finding[]> {
  try {
    return [await check(context)].flat();
  } catch (error) {
    context.signal.throwIfAborted();
    const found = { zh: "检查本身出错", en: "the check itself failed" };
    const what = check.name || "napcat-vlm";
    return [{ verdict: "fail", what, found, advice: describeFailure(error) }];
  } finally {
    context.signal.throwIfAborted();
  }
}
