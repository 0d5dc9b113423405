// Findings as text or JSON, in one language, without what strangers should not see. In: findings one by one. Out: lines.

import type { Finding, Language, Text, Verdict } from "./finding.ts";
import { type Private, shown } from "./shown.ts";

const MARKS: Readonly<Record<Verdict, string>> = { ok: "✓ ok  ", warn: "! warn", fail: "✗ fail" };

export interface ReportOptions {
  readonly language: Language;
  readonly private: Private;
  readonly print: (line: string) => void;
}

export interface Report {
  add(finding: Finding): void;
  /** The last line. Returns how many findings have to be fixed. */
  end(): number;
}

/** Line by line, as it is found: a check may take a while. */
export class TextReport implements Report {
  readonly #options: ReportOptions;
  #failures = 0;

  constructor(options: ReportOptions, version: string) {
    this.#options = options;
    const made = { zh: "可以附在问题反馈里", en: "fit to be sent with a bug report" };
    options.print(
      `napcat-vlm ${version} · doctor · ${new Date().toISOString()} · ${this.#say(made)}`,
    );
  }

  add({ verdict, what, found, advice }: Finding): void {
    if (verdict === "fail") this.#failures++;
    this.#options.print(`${MARKS[verdict]}  ${this.#say(what)}: ${this.#say(found)}`);
    if (advice !== undefined) this.#options.print(`        → ${this.#say(advice)}`);
  }

  end(): number {
    const failures = this.#failures;
    const verdict =
      failures === 0
        ? { zh: "可以启动：napcat-vlm start", en: "ready: napcat-vlm start" }
        : { zh: `有 ${failures} 项需要处理，见上`, en: `${failures} to be fixed, see above` };
    this.#options.print("");
    this.#options.print(this.#say(verdict));
    return failures;
  }

  #say(text: Text): string {
    return say(text, this.#options);
  }
}

/** One object when all is known: `{ version, date, ready, findings: [{ verdict, what, found, advice? }] }`. */
export class JsonReport implements Report {
  readonly #options: ReportOptions;
  readonly #version: string;
  readonly #findings: Readonly<Record<string, string>>[] = [];
  #failures = 0;

  constructor(options: ReportOptions, version: string) {
    this.#options = options;
    this.#version = version;
  }

  add({ verdict, what, found, advice }: Finding): void {
    if (verdict === "fail") this.#failures++;
    const line = { verdict, what: say(what, this.#options), found: say(found, this.#options) };
    this.#findings.push(
      advice === undefined ? line : { ...line, advice: say(advice, this.#options) },
    );
  }

  end(): number {
    const report = {
      version: this.#version,
      date: new Date().toISOString(),
      ready: this.#failures === 0,
      findings: this.#findings,
    };
    this.#options.print(JSON.stringify(report, undefined, 2));
    return this.#failures;
  }
}

function say(text: Text, options: ReportOptions): string {
  return shown(typeof text === "string" ? text : text[options.language], options.private);
}
