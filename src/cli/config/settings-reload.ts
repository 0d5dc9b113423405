// Settings that are read again while a bot runs. In: a way to read them, and one to put them to use. Out: one line in the
// log for each change: done, done but for what needs a restart, or kept as it was because of everything that is wrong.

import { readFileSync } from "node:fs";
import { basename } from "node:path";
import { isDeepStrictEqual } from "node:util";
import type { LogFacts, Logger } from "../../bot/logger.ts";
import type { Settings } from "../settings.ts";
import { UsageError } from "../usage-error.ts";
import { ConfigError } from "./config-file.ts";

/** Of one log line. */
const MAX_PROBLEMS = 20;

export interface ReloadParts {
  /** Those the bot was started with. */
  readonly settings: Settings;
  /** Reads all of them again. @throws {UsageError} */
  readonly read: () => Settings;
  /** Puts them to use, and returns names of options that come too late. @throws {TypeError | RangeError} */
  readonly apply: (settings: Settings) => readonly string[];
  readonly logger: Logger;
}

export type ReloadOutcome = "reloaded" | "unchanged" | "refused";

/** Reads the settings again. */
export class SettingsReload {
  readonly #parts: ReloadParts;
  /** As they are in use; what needs a restart is compared with the start. */
  #current: Settings;
  #text: string | undefined;

  constructor(parts: ReloadParts) {
    this.#parts = parts;
    this.#current = parts.settings;
    this.#text = textOf(parts.settings.file);
  }

  /** As {@link reload}, if the file says something else than it did. */
  reloadIfChanged(): ReloadOutcome {
    const text = textOf(this.#parts.settings.file);
    // While an editor puts a new file in place there is none for a moment.
    if (text === undefined || text === this.#text) return "unchanged";
    return this.reload();
  }

  /** Never throws: what cannot be used changes nothing. */
  reload(): ReloadOutcome {
    const { settings: atStart, read, apply, logger } = this.#parts;
    this.#text = textOf(atStart.file);
    try {
      const settings = read();
      const late = [...apply(settings), ...tooLate(atStart, settings)];
      const changed = !isDeepStrictEqual(this.#current, settings);
      this.#current = settings;
      if (late.length > 0) {
        const needsRestart = late.join(", ");
        logger.warn("The settings were read again; some need a restart.", { needsRestart });
      } else {
        logger.info("The settings were read again.", { changed });
      }
      return "reloaded";
    } catch (error) {
      logger.error("The settings have problems; the old ones stay.", factsOf(error));
      return "refused";
    }
  }
}

/** Each problem is a fact of its own: a log cuts long texts, and none of them may be lost to that. */
function factsOf(error: unknown): LogFacts {
  if (error instanceof ConfigError) {
    const all = error.problems.map(({ place, text }) => `${place.line}:${place.column} ${text}`);
    const shown = all.slice(0, MAX_PROBLEMS).map((text, index) => [`problem${index + 1}`, text]);
    return { file: basename(error.path), problems: all.length, ...Object.fromEntries(shown) };
  }
  const isForeseen =
    error instanceof UsageError || error instanceof TypeError || error instanceof RangeError;
  return { problem1: isForeseen ? error.message : "unexpected" };
}

/** What is built once: the model, the connection, the debug page, the store. */
export const BUILT_ONCE = [
  "model",
  "device",
  "precision",
  "host",
  "port",
  "napcat",
  "data",
  "fallback",
  "modelKey",
  "debugToken",
] as const satisfies readonly (keyof Settings)[];
export const SECTIONS_BUILT_ONCE = ["napcat", "vlm", "debugHttp", "store"] as const;

/** Names of settings that differ and cannot change while the process runs. */
function tooLate(atStart: Settings, now: Settings): readonly string[] {
  const settings = BUILT_ONCE.filter((name) => !isDeepStrictEqual(atStart[name], now[name]));
  const sections = SECTIONS_BUILT_ONCE.flatMap((section) =>
    namesThatDiffer(atStart.sections[section], now.sections[section])
      .filter((name) => !ALSO_SETTINGS.includes(`${section}.${name}`))
      .map((name) => `${section}.${name}`),
  );
  return [...settings, ...sections];
}

/** Said under their short names already. */
const ALSO_SETTINGS: readonly string[] = [
  "napcat.url",
  "napcat.token",
  "vlm.model",
  "vlm.device",
  "vlm.precision",
  "debugHttp.host",
  "debugHttp.port",
  "debugHttp.token",
  "store.directory",
];

function namesThatDiffer(before: object, after: object): readonly string[] {
  const names = new Set([...Object.keys(before), ...Object.keys(after)]);
  return [...names].filter(
    (name) => !isDeepStrictEqual(Reflect.get(before, name), Reflect.get(after, name)),
  );
}

function textOf(path: string | undefined): string | undefined {
  if (path === undefined) return undefined;
  try {
    return readFileSync(path, "utf8");
  } catch {
    return undefined;
  }
}
