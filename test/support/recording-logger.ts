// A logger that keeps what was logged, to prove what was said and what was not.

import type { LogFacts, Logger } from "../../src/bot/logger.ts";

export interface LogLine {
  readonly level: keyof Logger;
  readonly message: string;
  readonly facts: LogFacts | undefined;
}

export class RecordingLogger implements Logger {
  readonly lines: LogLine[] = [];

  debug(message: string, facts?: LogFacts): void {
    this.lines.push({ level: "debug", message, facts });
  }

  info(message: string, facts?: LogFacts): void {
    this.lines.push({ level: "info", message, facts });
  }

  warn(message: string, facts?: LogFacts): void {
    this.lines.push({ level: "warn", message, facts });
  }

  error(message: string, facts?: LogFacts): void {
    this.lines.push({ level: "error", message, facts });
  }

  /** Messages of one level. */
  at(level: keyof Logger): string[] {
    return this.lines.filter((line) => line.level === level).map(({ message }) => message);
  }
}
