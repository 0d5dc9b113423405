// Where the bot writes what happens: an interface that `console` and most loggers fit.
// Messages and facts never hold chat text, URLs of pictures, base64 or secrets.

/** Facts of a log line, such as `{ chat: "group:123", ms: 40 }`. */
export type LogFacts = Readonly<Record<string, string | number | boolean | undefined>>;

export interface Logger {
  debug(message: string, facts?: LogFacts): void;
  info(message: string, facts?: LogFacts): void;
  warn(message: string, facts?: LogFacts): void;
  error(message: string, facts?: LogFacts): void;
}

const PREFIX = "[napcat-vlm]";

/** Warnings and errors to the console, the rest nowhere. */
export const DEFAULT_LOGGER: Logger = {
  debug() {},
  info() {},
  warn: (message, facts) => console.warn(PREFIX, message, facts ?? ""),
  error: (message, facts) => console.error(PREFIX, message, facts ?? ""),
};

/** Has this value the four methods of a logger? */
export function isLogger(value: unknown): boolean {
  if (typeof value !== "object" || value === null) return false;
  return ["debug", "info", "warn", "error"].every(
    (level) => typeof Reflect.get(value, level) === "function",
  );
}

/** The same logger, but one that throws disturbs nobody. */
export function safeLogger(logger: Logger): Logger {
  const safe = (level: keyof Logger) => (message: string, facts?: LogFacts) => {
    try {
      logger[level](message, facts);
    } catch {
      // There is no better place to say that the place to say things is broken.
    }
  };
  return { debug: safe("debug"), info: safe("info"), warn: safe("warn"), error: safe("error") };
}
