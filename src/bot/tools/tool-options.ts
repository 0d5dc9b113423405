// What can be said of tools: the limits, the defaults, and the check at the door.

import {
  integer,
  list,
  matching,
  milliseconds,
  nonEmptyText,
  object,
  oneOf,
  text,
} from "../../parse-options.ts";
import { RANKS } from "../rank.ts";
import type { BotTool } from "./bot-tool.ts";

export interface ToolLimits {
  /** Most times that a model is shown results in one turn; then it has to answer. */
  readonly maxSteps: number;
  /** Longest time of one call, in milliseconds. */
  readonly timeoutMs: number;
  /** Longest time of all calls of a turn together, in milliseconds. */
  readonly totalTimeoutMs: number;
  /** Longer results are cut. */
  readonly maxResultCharacters: number;
}

export const DEFAULT_TOOL_LIMITS: ToolLimits = {
  maxSteps: 5,
  timeoutMs: 30_000,
  totalTimeoutMs: 120_000,
  maxResultCharacters: 8000,
};

const QQ_NUMBERS = list(nonEmptyText(), "a list of QQ numbers, as strings");

const TOOL = object({
  name: matching<string>(
    "a name of up to 64 letters, digits, `_` and `-`",
    (value) => typeof value === "string" && /^[\w-]{1,64}$/u.test(value),
  ),
  description: text().optional(),
  inputSchema: matching<object>(
    "a schema of zod 4 or a JSON schema",
    // Of a schema's library, zod's alone is here to make JSON schema of it.
    (value) =>
      typeof value === "object" && value !== null && (!("~standard" in value) || "_zod" in value),
  ).optional(),
  note: nonEmptyText().optional(),
  timeoutMs: milliseconds().optional(),
  needs: oneOf(RANKS).optional(),
  people: QQ_NUMBERS.optional(),
  groups: QQ_NUMBERS.optional(),
  execute: matching<BotTool["execute"]>("a function", (value) => typeof value === "function"),
});

/** @internal */
export const TOOLS_SCHEMA = list(TOOL, "a list of tools").refine(
  (tools) => new Set(tools.map(({ name }) => name)).size === tools.length,
  { error: "a list of tools with different names" },
);

/** @internal */
export const TOOL_LIMITS_SCHEMA = object({
  maxSteps: integer(1, 100).optional(),
  timeoutMs: milliseconds().optional(),
  totalTimeoutMs: milliseconds().optional(),
  maxResultCharacters: integer(1).optional(),
});
