// What the bot should do, from three places. In: flags, environment, a JSON file. Out: settings, checked, or a
// UsageError naming the place. Flags win over the environment, the environment over the file. Tokens are never shown.

import { existsSync } from "node:fs";
import { dirname, resolve } from "node:path";
import { z } from "zod";
import { DiskError } from "../disk-error.ts";
import { readTextSync } from "../disk-sync.ts";
import { packagePath } from "../package-root.ts";
import { modelName } from "../vlm/hub/model-name.ts";
import type { SettingFlags } from "./arguments.ts";
import { UsageError } from "./usage-error.ts";

const PORT = "expected a port from 0 to 65535";

const HOSTS = "expected hosts such as img.example.com or 127.0.0.1:8080, with commas between";

const schemas = {
  model: z.string(),
  device: z
    .string()
    .regex(/^(auto|cpu|webgpu|cuda(:\d+)?)$/, "expected cpu, cuda:N, webgpu or auto"),
  precision: z.enum(["fp32", "w8a8", "q4", "fp16", "q4f16"], {
    error: "expected fp32, w8a8, q4, fp16 or q4f16",
  }),
  host: z.string().regex(/^[\w.:[\]-]+$/, "expected a host name or an IP address"),
  port: z.preprocess(
    (value) => (typeof value === "string" && /^\d+$/.test(value) ? Number(value) : value),
    z.int(PORT).min(0, PORT).max(65_535, PORT),
  ),
  napcat: z
    .string()
    .refine(isWebSocketUrl, "expected a WebSocket address such as ws://127.0.0.1:3001"),
  napcatToken: z.string(),
  imageHosts: z.preprocess(
    (value) => (typeof value === "string" ? value.split(/[\s,]+/).filter(Boolean) : value),
    z.array(z.string().regex(/^[\w.-]+(:\d+)?$/, HOSTS), HOSTS),
  ),
  data: z.string(),
  debugToken: z
    .string()
    .min(16, "expected at least 16 characters")
    .regex(/^[!-~]*$/, "expected ASCII characters without spaces, for it travels in a header"),
};

type Key = keyof typeof schemas;
type Values = { readonly [K in Key]?: z.infer<(typeof schemas)[K]> };

/** Environment variable of each setting. */
const VARIABLES: Readonly<Record<Key, string>> = {
  model: "VLM_MODEL",
  device: "VLM_DEVICE",
  precision: "VLM_PRECISION",
  host: "HOST",
  port: "PORT",
  napcat: "NAPCAT_URL",
  napcatToken: "NAPCAT_TOKEN",
  imageHosts: "IMAGE_HOSTS",
  data: "VLM_DATA",
  debugToken: "DEBUG_TOKEN",
};

export interface Settings {
  /** Directory of a checkpoint or of a converted package, or the name of a pulled model. */
  readonly model: string;
  readonly device: "auto" | "cpu" | "webgpu" | `cuda:${number}`;
  /** Only a conversion needs it; left out, the converter decides. */
  readonly precision: "fp32" | "w8a8" | "q4" | "fp16" | "q4f16" | undefined;
  readonly host: string;
  readonly port: number;
  readonly napcat: { readonly url: string; readonly token: string | undefined } | undefined;
  /** Hosts besides QQ's that pictures may be fetched from, on a private network too: whoever names them means them. */
  readonly imageHosts: readonly string[];
  /** Directory where chats outlive the process; undefined: they do not. */
  readonly data: string | undefined;
  readonly debugToken: string | undefined;
}

/** @throws {UsageError} naming the flag, the variable or the key of the file that is wrong. */
export function resolveSettings(
  flags: SettingFlags,
  env: Readonly<Record<string, string | undefined>> = process.env,
): Settings {
  const { config, "image-hosts": imageHosts, ...others } = flags;
  const given = { ...others, ...(imageHosts === undefined ? {} : { imageHosts }) };
  const file = config === undefined ? {} : readConfig(config);
  const chosen: Values = { ...file, ...fromEnvironment(env), ...fromFlags(given) };
  return {
    model: chosen.model ?? packagePath("examples/tiny-chat"),
    device: (chosen.device === "cuda" ? "cuda:0" : (chosen.device ?? "cpu")) as Settings["device"],
    precision: chosen.precision,
    host: chosen.host ?? "127.0.0.1",
    port: chosen.port ?? 9999,
    napcat:
      chosen.napcat === undefined ? undefined : { url: chosen.napcat, token: chosen.napcatToken },
    imageHosts: chosen.imageHosts ?? [],
    data: chosen.data,
    debugToken: chosen.debugToken,
  };
}

function fromFlags(flags: Readonly<Record<string, string>>): Values {
  return check(Object.entries(flags), (key) =>
    key === "imageHosts" ? "--image-hosts" : `--${key}`,
  );
}

/** An empty variable is one that is not set: `PORT= npm start`. */
function fromEnvironment(env: Readonly<Record<string, string | undefined>>): Values {
  const set = Object.entries(VARIABLES).flatMap(([key, variable]) => {
    const value = env[variable];
    return value === undefined || value === "" ? [] : [[key, value] as const];
  });
  return check(set, (key) => VARIABLES[key as Key]);
}

function readConfig(path: string): Values {
  let text: string;
  try {
    text = readTextSync(path);
  } catch (error) {
    if (error instanceof DiskError) throw new UsageError(`\`--config\`: ${error.message}`);
    const code = (error as NodeJS.ErrnoException).code ?? "unreadable";
    throw new UsageError(`The file of \`--config\` cannot be read: ${path} (${code}).`);
  }
  let json: unknown;
  try {
    // Editors on Windows put a byte order mark in front.
    json = JSON.parse(text.replace(/^\uFEFF/, ""));
  } catch {
    throw new UsageError(`${path} is not valid JSON.`);
  }
  if (typeof json !== "object" || json === null || Array.isArray(json)) {
    throw new UsageError(`${path} does not hold a JSON object.`);
  }
  const unknown = Object.keys(json).filter((key) => !Object.hasOwn(schemas, key));
  if (unknown.length > 0) {
    throw new UsageError(
      `${path} has unknown keys: ${unknown.join(", ")}. Known are ${Object.keys(schemas).join(", ")}.`,
    );
  }
  const values = check(Object.entries(json), (key) => `\`${key}\` in ${path}`);
  // A path in a file means what it means beside that file; the name of a pulled model is no path.
  const paths = (["model", "data"] as const).flatMap((key) => {
    const given = values[key];
    if (given === undefined) return [];
    const beside = resolve(dirname(path), given);
    const isName = key === "model" && modelName(given) !== undefined && !existsSync(beside);
    return [[key, isName ? given : beside]];
  });
  return { ...values, ...Object.fromEntries(paths) };
}

function check(
  entries: readonly (readonly [string, unknown])[],
  place: (key: string) => string,
): Values {
  const values: Record<string, unknown> = {};
  for (const [key, value] of entries) {
    const name = place(key);
    if (value === "") throw new UsageError(`${name} is empty.`);
    const result = schemas[key as Key].safeParse(value);
    if (!result.success) {
      const shown = key.endsWith("Token") ? "" : `, got \`${String(value).slice(0, 80)}\``;
      throw new UsageError(`${name}: ${result.error.issues[0]?.message}${shown}.`);
    }
    values[key] = result.data;
  }
  return values;
}

function isWebSocketUrl(text: string): boolean {
  return URL.canParse(text) && /^wss?:$/.test(new URL(text).protocol);
}
