// What can be chosen about commands: the defaults, and the check at the door. It knows nothing of what commands do.

import {
  boolean,
  callback,
  list,
  matching,
  nonEmptyText,
  object,
  oneOf,
} from "../../parse-options.ts";
import { RANKS, type Rank } from "../rank.ts";
import { BUILT_IN } from "./built-in.ts";
import type { Command, CommandTools } from "./command.ts";

export interface CommandOptions {
  readonly enabled: boolean;
  /** What stands in front of every name. */
  readonly prefix: string;
  /** By one of a command's names, who may use it. */
  readonly permissions: Readonly<Record<string, Rank>>;
  /** Commands of the host program; their names take the place of the bot's own. */
  readonly own: readonly Command[];
  /** Reads the settings of the host program again; what it returns is said. */
  readonly onReload: CommandTools["reload"];
}

export const DEFAULT_COMMANDS: CommandOptions = {
  enabled: true,
  prefix: "/",
  permissions: {},
  own: [],
  onReload: undefined,
};

function isCommand(value: unknown): boolean {
  if (typeof value !== "object" || value === null) return false;
  const names: unknown = Reflect.get(value, "names");
  return (
    Array.isArray(names) &&
    names.length > 0 &&
    names.every((name) => typeof name === "string" && /^\S+$/u.test(name)) &&
    typeof Reflect.get(value, "run") === "function"
  );
}

const COMMAND = matching<Command>("a command with `names` (without spaces) and `run`", isCommand);

/** A permission for a command that nobody knows would protect nothing. */
function namesCommands(value: unknown): boolean {
  if (typeof value !== "object" || value === null) return false;
  const own: unknown = Reflect.get(value, "own");
  const commands = [...BUILT_IN, ...(Array.isArray(own) ? own.filter(isCommand) : [])] as Command[];
  const names = new Set(
    commands.flatMap((command) => command.names.map((name) => name.toLowerCase())),
  );
  const permissions: unknown = Reflect.get(value, "permissions") ?? {};
  if (typeof permissions !== "object" || permissions === null) return true;
  return Object.keys(permissions).every((name) => names.has(name.toLowerCase()));
}

/** @internal */
export const COMMANDS_SCHEMA = object({
  enabled: boolean().optional(),
  prefix: nonEmptyText().optional(),
  permissions: matching<never>(
    `an object from names of commands to ${RANKS.map((rank) => `"${rank}"`).join(", ")}`,
    (value) =>
      typeof value === "object" &&
      value !== null &&
      Object.values(value).every((rank) => oneOf(RANKS).safeParse(rank).success),
    "object",
  ).optional(),
  own: list(COMMAND, "a list of commands").optional(),
  onReload: callback().optional(),
}).refine(namesCommands, { error: "permissions for commands that exist" });

/** The arguments of {@link Commands}: prefix, the bot's own commands and those of the host program, permissions. */
export function commandsOf({ enabled, prefix, own, permissions }: CommandOptions) {
  return [prefix, enabled ? [...BUILT_IN, ...own] : own, permissions] as const;
}
