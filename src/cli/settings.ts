// What the bot should do, from three places. In: flags, environment, a file. Out: settings, checked, or a UsageError
// naming the place. Flags win over the environment, the environment over the file. Tokens are never shown.

import { packagePath } from "../package-root.ts";
import { findMistakes } from "../parse-options.ts";
import type { SettingFlags } from "./arguments.ts";
import { findConfig, readConfigFile } from "./config/config-file.ts";
import type { FileSections } from "./config/config-schema.ts";
import {
  hostsOf,
  modelsOf,
  SHORT_KEYS,
  type ShortKey,
  type ShortValues,
  VARIABLES,
} from "./config/short-keys.ts";
import { UsageError } from "./usage-error.ts";

export interface Settings {
  /** The file they come from, if there is one. */
  readonly file: string | undefined;
  /** What the file says, section by section: options for the functions that take them. What stands below wins. */
  readonly sections: FileSections;
  /** Directory of a checkpoint or of a converted package, name of a pulled one, or `openai:` and an address. */
  readonly model: string;
  readonly device: "auto" | "cpu" | "webgpu" | `cuda:${number}`;
  /** Only a conversion needs it; left out, the converter decides. */
  readonly precision: "fp32" | "w8a8" | "q4" | "fp16" | "q4f16" | "w8a16" | undefined;
  readonly host: string;
  readonly port: number;
  readonly napcat: { readonly url: string; readonly token: string | undefined } | undefined;
  /** Hosts besides QQ's that pictures may be fetched from, on a private network too: whoever names them means them. */
  readonly imageHosts: readonly string[];
  /** Directory where chats outlive the process; undefined: they do not. */
  readonly data: string | undefined;
  /** Models that are asked where the first one is full or fails, in this order. */
  readonly fallback: readonly string[];
  /** Key of the first model elsewhere, and of others on the same server. */
  readonly modelKey: string | undefined;
  readonly debugToken: string | undefined;
}

/** @throws {UsageError} naming the flag, the variable or the place in the file that is wrong. */
export function resolveSettings(
  flags: SettingFlags,
  env: Readonly<Record<string, string | undefined>> = process.env,
  directory: string = process.cwd(),
): Settings {
  const { config = findConfig(directory), "image-hosts": imageHosts, ...others } = flags;
  const given = { ...others, ...(imageHosts === undefined ? {} : { imageHosts }) };
  const file = config === undefined ? undefined : readConfigFile(config, env);
  const chosen: ShortValues = { ...file?.short, ...fromEnvironment(env), ...fromFlags(given) };
  return {
    file: file?.path,
    sections: file?.sections ?? NO_SECTIONS,
    model: chosen.model ?? packagePath("examples/tiny-chat"),
    device: (chosen.device === "cuda" ? "cuda:0" : (chosen.device ?? "cpu")) as Settings["device"],
    precision: chosen.precision,
    host: chosen.host ?? "127.0.0.1",
    port: Number(chosen.port ?? 9999),
    napcat:
      chosen.napcat === undefined ? undefined : { url: chosen.napcat, token: chosen.napcatToken },
    imageHosts: hostsOf(chosen.imageHosts ?? []),
    data: chosen.data,
    fallback: modelsOf(chosen.fallback ?? []),
    modelKey: chosen.modelKey,
    debugToken: chosen.debugToken,
  };
}

const NO_SECTIONS: FileSections = {
  napcat: {},
  vlm: {},
  bot: {},
  debugHttp: {},
  store: {},
  log: {},
};

function fromFlags(flags: Readonly<Record<string, string>>): ShortValues {
  return check(Object.entries(flags), (key) =>
    key === "imageHosts" ? "--image-hosts" : `--${key}`,
  );
}

/** An empty variable is one that is not set: `PORT= npm start`. */
function fromEnvironment(env: Readonly<Record<string, string | undefined>>): ShortValues {
  const set = Object.entries(VARIABLES).flatMap(([key, variable]) => {
    const value = env[variable];
    return value === undefined || value === "" ? [] : [[key, value] as const];
  });
  return check(set, (key) => VARIABLES[key as ShortKey]);
}

/** Values that may hold a token or a password. */
const HIDDEN: readonly string[] = [
  "model",
  "fallback",
  "modelKey",
  "napcat",
  "napcatToken",
  "debugToken",
];

function check(
  entries: readonly (readonly [string, string])[],
  place: (key: string) => string,
): ShortValues {
  for (const [key, value] of entries) {
    const name = place(key);
    if (value === "") throw new UsageError(`${name} is empty.`);
    const [mistake] = findMistakes(SHORT_KEYS[key as ShortKey], value);
    if (mistake === undefined) continue;
    const shown = HIDDEN.includes(key) ? "" : `, got \`${value.slice(0, 80)}\``;
    throw new UsageError(`${name}: expected ${mistake.expected}${shown}.`);
  }
  return Object.fromEntries(entries);
}
