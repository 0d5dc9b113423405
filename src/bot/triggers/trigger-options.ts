// What makes a bot answer, as options: the defaults, and the check at the door.

import {
  boolean,
  integer,
  list,
  matching,
  number,
  object,
  oneOf,
  text,
  withDefaults,
} from "../../parse-options.ts";
import { isPattern } from "./regex.ts";
import { type DecideOptions, GROUP_TRIGGER_NAMES, type Triggers } from "./triggers.ts";

/** {@link Triggers}, where what is left out stays as it is. */
export type TriggerOptions = Partial<Omit<Triggers, "decide">> & {
  readonly decide?: Partial<DecideOptions>;
};

export const DEFAULT_TRIGGERS: Triggers = {
  group: ["mention", "quote", "nickname", "prefix", "keyword", "regex"],
  private: true,
  nicknames: [],
  prefixes: [],
  keywords: [],
  patterns: [],
  probability: 0.02,
  decide: { threshold: 0.6, perMinute: 4 },
};

/** @internal */
export const TRIGGERS_SCHEMA = object({
  group: list(oneOf(GROUP_TRIGGER_NAMES), "a list of triggers").optional(),
  private: boolean().optional(),
  nicknames: list(text(), "a list of names").optional(),
  prefixes: list(text(), "a list of beginnings").optional(),
  keywords: list(text(), "a list of words").optional(),
  patterns: list(
    matching<string>(
      "a regular expression that RE2 takes, without look-around",
      isPattern,
      "string",
    ),
    "a list of regular expressions",
  ).optional(),
  probability: number(0, 1).optional(),
  decide: object({
    threshold: number(0, 1).optional(),
    perMinute: integer(0).optional(),
  }).optional(),
});

/** The base with some of it replaced. */
export function withTriggers(base: Triggers, changes: TriggerOptions = {}): Triggers {
  const { decide, ...rest } = changes;
  return { ...withDefaults(base, rest), decide: withDefaults(base.decide, decide) };
}
