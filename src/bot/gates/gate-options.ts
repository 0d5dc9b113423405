// Who may talk to a bot and how much, as options: the defaults, and the check at the door. In: options of installVlm.
// Out: the same, completed. It knows nothing of what they do.

import {
  boolean,
  integer,
  list,
  matching,
  milliseconds,
  object,
  withDefaults,
} from "../../parse-options.ts";
import type { AccessOptions } from "./access.ts";
import type { BreakerOptions } from "./breaker.ts";
import type { IdLists } from "./id-lists.ts";
import type { LoopGuardOptions } from "./loop-guard.ts";
import type { RateLimitOptions } from "./rate-limits.ts";

export interface GateOptions {
  /** Who may talk to the bot, and where. @default DEFAULT_ACCESS: everybody, everywhere */
  readonly access?: {
    readonly groups?: Partial<IdLists>;
    readonly users?: Partial<IdLists>;
    readonly friends?: boolean;
    readonly temporary?: boolean;
  };
  /** How much may be asked. @default DEFAULT_LIMITS */
  readonly limits?: Partial<RateLimitOptions>;
  /** When messages to a chat keep failing. @default DEFAULT_BREAKER */
  readonly breaker?: Partial<BreakerOptions>;
  /** Against endless talks with other bots. @default DEFAULT_LOOP_GUARD */
  readonly loopGuard?: Partial<LoopGuardOptions>;
}

export interface ResolvedGateOptions {
  readonly access: AccessOptions;
  readonly limits: RateLimitOptions;
  readonly breaker: BreakerOptions;
  readonly loopGuard: LoopGuardOptions;
}

export const DEFAULT_ACCESS: AccessOptions = {
  groups: { allow: ["*"], deny: [] },
  users: { allow: ["*"], deny: [] },
  friends: true,
  temporary: true,
};

export const DEFAULT_LIMITS: RateLimitOptions = {
  personPerMinute: 15,
  groupPerMinute: 40,
  totalPerMinute: 100,
  commandsPerMinute: 20,
};

export const DEFAULT_BREAKER: BreakerOptions = { failures: 3, pauseMs: 300_000 };

export const DEFAULT_LOOP_GUARD: LoopGuardOptions = {
  exchanges: 30,
  withinMs: 300_000,
  quietMs: 120_000,
  askRobots: false,
};

function ids() {
  const id = matching<string>(
    "a number as a string, where `*` stands for any digits and `?` for one",
    (value) => typeof value === "string" && /^[\d*?]+$/u.test(value),
    "string",
  );
  return list(id, "a list of numbers, as strings");
}

function idLists() {
  return object({ allow: ids().optional(), deny: ids().optional() }).optional();
}

/** @internal */
export const GATES_SHAPE = {
  access: object({
    groups: idLists(),
    users: idLists(),
    friends: boolean().optional(),
    temporary: boolean().optional(),
  }).optional(),
  limits: object({
    personPerMinute: integer(0).optional(),
    groupPerMinute: integer(0).optional(),
    totalPerMinute: integer(0).optional(),
    commandsPerMinute: integer(0).optional(),
  }).optional(),
  breaker: object({
    failures: integer(0).optional(),
    pauseMs: milliseconds().optional(),
  }).optional(),
  loopGuard: object({
    exchanges: integer(0).optional(),
    withinMs: milliseconds().optional(),
    quietMs: milliseconds().optional(),
    askRobots: boolean().optional(),
  }).optional(),
};

export function resolveGateOptions(options: GateOptions): ResolvedGateOptions {
  const { groups, users, ...rest } = options.access ?? {};
  return {
    access: {
      ...withDefaults(DEFAULT_ACCESS, rest),
      groups: withDefaults(DEFAULT_ACCESS.groups, groups),
      users: withDefaults(DEFAULT_ACCESS.users, users),
    },
    limits: withDefaults(DEFAULT_LIMITS, options.limits),
    breaker: withDefaults(DEFAULT_BREAKER, options.breaker),
    loopGuard: withDefaults(DEFAULT_LOOP_GUARD, options.loopGuard),
  };
}
