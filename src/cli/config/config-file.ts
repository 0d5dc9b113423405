// A file of settings: JSON with comments. In: a path and the environment. Out: sections and short keys, checked, with
// paths that mean what they mean beside the file; or one error with all that is wrong. Tokens are never shown.

import { existsSync } from "node:fs";
import { basename, dirname, join, resolve } from "node:path";
import { DiskError } from "../../disk-error.ts";
import { EncodingError, readTextSync } from "../../disk-sync.ts";
import { findMistakes, pathOf } from "../../parse-options.ts";
import { modelName } from "../../vlm/hub/model-name.ts";
import { isElsewhere } from "../../vlm/remote/remote-address.ts";
import { UsageError } from "../usage-error.ts";
import { describeMistake } from "./config-problem.ts";
import { CONFIG_SCHEMA, type FileSections } from "./config-schema.ts";
import { type Problem, parseConfigText } from "./config-text.ts";
import { withEnvironment } from "./env-references.ts";
import { modelsOf, type ShortKey, type ShortValues } from "./short-keys.ts";

/** Looked for in the working directory when nobody names a file. */
export const DEFAULT_FILES = ["napcat-vlm.jsonc", "napcat-vlm.json"] as const;

/** Far more than anybody writes. */
const MAX_CHARACTERS = 1024 * 1024;

/** Of a message; `problems` has them all. */
const MAX_LINES = 30;

/** What a file says. */
export interface ConfigFile {
  readonly path: string;
  /** Settings that can come from elsewhere too; a section's own are among them. */
  readonly short: ShortValues;
  readonly sections: FileSections;
}

/** A file that is not used, because of everything that is wrong with it. */
export class ConfigError extends UsageError {
  override readonly name = "ConfigError";
  readonly path: string;
  readonly problems: readonly Problem[];

  constructor(path: string, problems: readonly Problem[]) {
    const name = basename(path);
    const listed = new Set<string>();
    const lines = problems.slice(0, MAX_LINES).map(({ place, text, known = [] }) => {
      // The names that are known are many, and the same for every key of a place: once is enough.
      const names = known.join(", ");
      const list = known.length === 0 || listed.has(names) ? "" : ` Known are ${names}.`;
      listed.add(names);
      return `${name}:${place.line}:${place.column} ${text}${list}`;
    });
    if (problems.length > MAX_LINES) lines.push(`and ${problems.length - MAX_LINES} more`);
    const [first = "", ...more] = lines;
    const count = `${path}: ${problems.length} problems`;
    super(more.length === 0 ? first : [count, ...lines].join("\n  "));
    this.path = path;
    this.problems = problems;
  }
}

/** Short keys that name the same as an option of a section. */
const SAME: readonly [short: ShortKey, section: keyof FileSections, option: string][] = [
  ["model", "vlm", "model"],
  ["device", "vlm", "device"],
  ["precision", "vlm", "precision"],
  ["host", "debugHttp", "host"],
  ["port", "debugHttp", "port"],
  ["debugToken", "debugHttp", "token"],
  ["napcat", "napcat", "url"],
  ["napcatToken", "napcat", "token"],
  ["data", "store", "directory"],
];

/** The file of the working directory, if there is one. @throws {UsageError} if there are two. */
export function findConfig(directory: string): string | undefined {
  const found = DEFAULT_FILES.map((name) => join(directory, name)).filter((path) =>
    existsSync(path),
  );
  if (found.length > 1) {
    throw new UsageError(`There are ${DEFAULT_FILES.join(" and ")}: name one with \`--config\`.`);
  }
  return found[0];
}

/** @throws {UsageError} if it cannot be read; a {@link ConfigError} for what it says. */
export function readConfigFile(
  path: string,
  env: Readonly<Record<string, string | undefined>>,
): ConfigFile {
  const parsed = parseConfigText(readFile(path));
  if (!("value" in parsed)) throw new ConfigError(path, parsed);
  const { value, missing } = withEnvironment(parsed.value, env);
  const problems: Problem[] = missing.map(({ keys, name }) => ({
    place: parsed.placeOf(keys),
    text: `the environment variable ${name} is not set.`,
  }));
  const isMissing = new Set(missing.map(({ keys }) => pathOf(keys)));
  for (const mistake of findMistakes(CONFIG_SCHEMA, value)) {
    if (isMissing.has(mistake.path)) continue;
    const keys = mistake.unknown?.keys ?? [];
    for (const [index, problem] of describeMistake(mistake).entries()) {
      const key = keys[index];
      const place =
        key === undefined
          ? parsed.placeOf(mistake.keys)
          : parsed.placeOfKey([...mistake.keys, key]);
      problems.push({ ...problem, place });
    }
  }
  problems.push(...givenTwice(value).map((short) => twice(short, parsed.placeOfKey([short[0]]))));
  if (problems.length > 0) throw new ConfigError(path, problems.toSorted(byPlace));
  return { path, ...sectionsOf(value as FileValue, dirname(path)) };
}

type FileValue = ShortValues & { readonly $schema?: string } & {
  readonly [K in Exclude<keyof FileSections, "napcat">]?: FileSections[K];
} & { readonly napcat?: FileSections["napcat"] | string };

function readFile(path: string): string {
  try {
    const text = readTextSync(path);
    if (text.length <= MAX_CHARACTERS) return text;
    throw new UsageError(`${path} is too large to be a file of settings.`);
  } catch (error) {
    if (error instanceof UsageError) throw error;
    if (error instanceof EncodingError) {
      throw new UsageError(
        `${path} is not UTF-8: letters that are not ASCII would be lost. Save it again as UTF-8, which editors ask for beside the name (Notepad calls GBK "ANSI").`,
      );
    }
    if (error instanceof DiskError) throw new UsageError(`\`--config\`: ${error.message}`);
    const code = (error as NodeJS.ErrnoException).code ?? "unreadable";
    throw new UsageError(`The file of \`--config\` cannot be read: ${path} (${code}).`);
  }
}

function givenTwice(value: unknown): (typeof SAME)[number][] {
  return SAME.filter(([short, section, option]) => {
    const options: unknown = at(value, section);
    return short !== section && at(value, short) !== undefined && at(options, option) !== undefined;
  });
}

function twice([short, section, option]: (typeof SAME)[number], place: Problem["place"]): Problem {
  return { place, text: `\`${short}\` is the same as \`${section}.${option}\`: give one of them.` };
}

function at(value: unknown, key: string): unknown {
  if (typeof value !== "object" || value === null || !Object.hasOwn(value, key)) return undefined;
  return Reflect.get(value, key);
}

function byPlace(a: Problem, b: Problem): number {
  return a.place.line - b.place.line || a.place.column - b.place.column;
}

/** @param directory of the file: a path in it means what it means there */
function sectionsOf(value: FileValue, directory: string): Omit<ConfigFile, "path"> {
  const { $schema: _, napcat, vlm = {}, bot = {}, debugHttp = {}, ...others } = value;
  const { store = {}, log = {}, ...given } = others;
  const sections: FileSections = {
    napcat: typeof napcat === "string" ? { url: napcat } : (napcat ?? {}),
    vlm: {
      ...vlm,
      ...pathIn(directory, "packageDir", vlm.packageDir),
      ...(vlm.adapters && { adapters: vlm.adapters.map((dir) => resolve(directory, dir)) }),
    },
    bot,
    debugHttp,
    store,
    log,
  };
  const own = SAME.map(([short, section, option]) => [short, at(sections[section], option)]);
  const short: ShortValues = {
    ...given,
    ...Object.fromEntries(own.filter(([, inner]) => inner !== undefined)),
  };
  return {
    sections,
    short: {
      ...short,
      ...modelIn(directory, short.model),
      ...pathIn(directory, "data", short.data),
      ...(short.fallback === undefined ? {} : { fallback: fallbackIn(directory, short.fallback) }),
    },
  };
}

/** The name of a pulled model is no path, unless there is one of that name. */
function modelIn(directory: string, model: string | undefined): { readonly model?: string } {
  if (model !== undefined && isElsewhere(model)) return { model };
  const beside = pathIn(directory, "model", model);
  const isName = model !== undefined && modelName(model) !== undefined;
  return isName && !existsSync(beside.model ?? "") ? { model } : beside;
}

function fallbackIn(directory: string, models: readonly string[] | string): string[] {
  return modelsOf(models).map((model) => modelIn(directory, model).model ?? model);
}

function pathIn<K extends string>(directory: string, key: K, path: string | undefined) {
  return (path === undefined ? {} : { [key]: resolve(directory, path) }) as { [P in K]?: string };
}
