// The words of a command line: which options there are, and which command takes them. In: arguments. Out: the name of a
// command, the words after it and the values of options, or a UsageError. What they mean, arguments.ts says.

import { parseArgs } from "node:util";
import { closeName } from "./config/close-names.ts";
import { UsageError } from "./usage-error.ts";

const OPTIONS = {
  model: { type: "string" },
  device: { type: "string" },
  precision: { type: "string" },
  host: { type: "string" },
  port: { type: "string" },
  napcat: { type: "string" },
  "image-hosts": { type: "string" },
  data: { type: "string" },
  fallback: { type: "string" },
  config: { type: "string" },
  out: { type: "string" },
  size: { type: "string" },
  threads: { type: "string" },
  "compute-priority": { type: "string" },
  admins: { type: "string" },
  groups: { type: "string" },
  yes: { type: "boolean", short: "y" },
  force: { type: "boolean" },
  cuda: { type: "string" },
  mirror: { type: "string" },
  from: { type: "string" },
  sha256: { type: "string" },
  libraries: { type: "boolean" },
  pypi: { type: "string" },
  lang: { type: "string" },
  picture: { type: "string" },
  json: { type: "boolean" },
  quick: { type: "boolean" },
  hub: { type: "string" },
  revision: { type: "string" },
  "keep-checkpoint": { type: "boolean" },
  "no-convert": { type: "boolean" },
  lora: { type: "string", multiple: true },
  connections: { type: "string" },
  help: { type: "boolean", short: "h" },
  version: { type: "boolean", short: "v" },
} as const;

/** Which options each command takes. */
export const OPTIONS_OF: Readonly<Record<string, readonly string[]>> = {
  start: [
    "model",
    "device",
    "precision",
    "host",
    "port",
    "napcat",
    "image-hosts",
    "data",
    "fallback",
    "config",
  ],
  init: ["config", "napcat", "model", "admins", "groups", "yes", "force", "lang"],
  convert: ["precision", "device", "out", "lora", "config"],
  pull: [
    "hub",
    "revision",
    "precision",
    "device",
    "keep-checkpoint",
    "no-convert",
    "connections",
    "config",
  ],
  list: ["json"],
  remove: [],
  verify: [],
  path: [],
  doctor: [
    "model",
    "device",
    "precision",
    "host",
    "port",
    "napcat",
    "config",
    "image-hosts",
    "lang",
    "json",
    "picture",
  ],
  bench: ["size", "model", "precision", "threads", "compute-priority", "out", "config"],
  prove: ["device", "json", "quick", "size", "config"],
  "setup-cuda": ["force", "cuda", "mirror", "from", "sha256", "libraries", "pypi"],
};

/** The report of `prove` goes into a file; that of `doctor` is what it prints. */
const PROVE_OPTIONS = { ...OPTIONS, json: { type: "string" } } as const;

/** @throws {UsageError} for words that are no options, and options without what belongs to them. */
export function readWords(argv: readonly string[]) {
  const options = commandOf(argv) === "prove" ? PROVE_OPTIONS : OPTIONS;
  try {
    const args = [...argv];
    const { values, positionals } = parseArgs({ args, options, allowPositionals: true });
    const [name, ...rest] = positionals;
    return { name, rest, values };
  } catch (error) {
    // Node explains at length; the first sentence says it all.
    const message = error instanceof Error ? error.message : String(error);
    throw new UsageError(`${message.split(/[.\n](?:\s|$)/)[0]}.${hint(message)}`);
  }
}

/** What may help with what Node does not understand: the option that may be meant, or how a value with a dash is given. */
function hint(message: string): string {
  const [, unknown] = /^Unknown option '--([^']+)'/.exec(message) ?? [];
  if (unknown !== undefined) return didYouMean(unknown, Object.keys(OPTIONS), "--");
  const [, option] = /^Option '(--[a-z-]+)'.* ambiguous/.exec(message) ?? [];
  return option === undefined ? "" : ` Its value is missing, or begins with a dash: ${option}=-….`;
}

function didYouMean(written: string, names: readonly string[], dashes = ""): string {
  const meant = closeName(written, names);
  return meant === undefined ? "" : ` Did you mean \`${dashes}${meant}\`?`;
}

/** @throws {UsageError} unless there is such a command, and it takes all of the options. */
export function expectCommand(
  name: string | undefined,
  options: readonly string[],
): asserts name is string {
  const names = Object.keys(OPTIONS_OF);
  if (name === undefined) throw new UsageError(`Name a command: ${names.join(", ")}.`);
  const allowed = isCommand(name) ? OPTIONS_OF[name] : undefined;
  if (allowed === undefined) {
    throw new UsageError(
      `Unknown command \`${name}\`.${didYouMean(name, names)} Known are ${names.join(", ")}.`,
    );
  }
  for (const option of options) {
    if (!allowed.includes(option)) {
      throw new UsageError(`\`--${option}\` is not an option of \`${name}\`.`);
    }
  }
}

export function isCommand(word: string): boolean {
  return Object.hasOwn(OPTIONS_OF, word);
}

/** Options may come before their command, and what `--json f` means only the command tells: the first word that is one. */
function commandOf(argv: readonly string[]): string | undefined {
  const { positionals } = parseArgs({ args: [...argv], options: OPTIONS, strict: false });
  return positionals.find(isCommand);
}
