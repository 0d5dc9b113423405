// The log of `napcat-vlm start`, on standard error: lines for people on a terminal, JSON lines for whatever collects
// them elsewhere. In: what the bot has to say. Out: the same, with every text redacted once more. The only file with pino.

import pino from "pino";
import { prettyFactory } from "pino-pretty";
import type { LogFacts, Logger } from "../bot/logger.ts";
import { redact } from "../bot/redact.ts";

const STDERR = 2;
export const DEFAULT_LEVEL = "info" satisfies LogLevel;

/** From this level on lines are written; `silent`: none. */
export const LOG_LEVELS = ["debug", "info", "warn", "error", "silent"] as const;
export type LogLevel = (typeof LOG_LEVELS)[number];

export interface LogOptions {
  /** @default "info" */
  readonly level?: LogLevel | undefined;
  /** Colours and times of day instead of JSON. @default whether standard error is a terminal */
  readonly forPeople?: boolean;
  /** Where lines go. @default standard error, written at once: nothing is lost at an exit */
  readonly stream?: { write(line: string): void };
}

/** A log whose level can be changed. */
export interface Log extends Logger {
  level: LogLevel;
}

export function createLog(options: LogOptions = {}): Log {
  const { forPeople = process.stderr.isTTY === true } = options;
  const lines = options.stream ?? pino.destination({ dest: STDERR, sync: true });
  const readable = prettyFactory({
    ignore: "pid,hostname",
    translateTime: "SYS:HH:MM:ss",
    colorize: options.stream === undefined,
  });
  const stream = forPeople ? { write: (line: string) => void lines.write(readable(line)) } : lines;
  const log = pino({ base: null, level: options.level ?? DEFAULT_LEVEL }, stream);
  const at = (level: keyof Logger) => (message: string, facts?: LogFacts) =>
    log[level](redactedFacts(facts), redact(message));
  return {
    debug: at("debug"),
    info: at("info"),
    warn: at("warn"),
    error: at("error"),
    get level() {
      return log.level as LogLevel;
    },
    set level(level) {
      log.level = level;
    },
  };
}

/** The facts of the bot hold nothing secret by themselves; this is for what a dependency's error may have put there. */
function redactedFacts(facts: LogFacts = {}): LogFacts {
  return Object.fromEntries(
    Object.entries(facts).map(([name, value]) => [
      name,
      typeof value === "string" ? redact(value) : value,
    ]),
  );
}
