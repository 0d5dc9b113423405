// Is this message for the bot? In: a message and which triggers its chat has. Out: the name of the first that fires.

import type { IncomingMessage } from "../napcat/events.ts";
import { any } from "./any.ts";
import { decide } from "./decide.ts";
import { keyword } from "./keyword.ts";
import { mention } from "./mention.ts";
import { nickname } from "./nickname.ts";
import { picture } from "./picture.ts";
import { poke } from "./poke.ts";
import { prefix } from "./prefix.ts";
import { probability } from "./probability.ts";
import { quote } from "./quote.ts";
import { regex } from "./regex.ts";
import type { Trigger, TriggerContext } from "./trigger.ts";

/** Those that look something up come last: whatever fires before them spares the look-up. */
const GROUP_TRIGGERS = {
  any,
  mention,
  nickname,
  prefix,
  keyword,
  regex,
  poke,
  picture,
  probability,
  quote,
  decide,
} as const satisfies Readonly<Record<string, Trigger>>;

/**
 * What makes the bot answer in a group.
 * - `mention`: an @ of the bot, not of everybody
 * - `quote`: a quote of one of the bot's own messages
 * - `nickname`, `prefix`, `keyword`, `regex`: one of those that are given
 * - `poke`: somebody pokes it
 * - `picture`: a message with pictures and nothing else
 * - `probability`: now and then, at random
 * - `decide`: the model thinks that the message is meant for the bot, or that an answer would help
 * - `any`: every message
 */
export type GroupTrigger = keyof typeof GROUP_TRIGGERS;

/** All of them. */
export const GROUP_TRIGGER_NAMES = Object.keys(GROUP_TRIGGERS) as [GroupTrigger, ...GroupTrigger[]];

export interface DecideOptions {
  /** How sure the model has to be, from 0 to 1. */
  readonly threshold: number;
  /** Messages of one chat the model is asked about in a minute, at most. */
  readonly perMinute: number;
}

export interface Triggers {
  readonly group: readonly GroupTrigger[];
  /** Answer private messages, including temporary sessions. */
  readonly private: boolean;
  /** Names people call the bot by, at the beginning or the end of what they say. */
  readonly nicknames: readonly string[];
  /** What a text may begin with to be for the bot. */
  readonly prefixes: readonly string[];
  /** Words that make any text one for the bot. */
  readonly keywords: readonly string[];
  /** Regular expressions (RE2, any case) that do. */
  readonly patterns: readonly string[];
  /** How often `probability` fires, from 0 to 1. */
  readonly probability: number;
  readonly decide: DecideOptions;
}

/** What made a message one for the bot. */
export type TriggerName = GroupTrigger | "private" | "hook";

/**
 * The trigger that fires, or `undefined` for none. A promise only where something has to be looked up:
 * most messages are for somebody else, and to know that must cost nothing.
 */
export function decideTrigger(
  message: IncomingMessage,
  context: TriggerContext,
): TriggerName | undefined | Promise<TriggerName | undefined> {
  const { triggers } = context;
  if (message.fromSelf) return undefined;
  if (message.poke === true) return triggers.group.includes("poke") ? "poke" : undefined;
  if (message.chat.kind === "private") return triggers.private ? "private" : undefined;
  return firstThatFires(
    GROUP_TRIGGER_NAMES.filter((name) => triggers.group.includes(name)),
    message,
    context,
  );
}

function firstThatFires(
  names: readonly GroupTrigger[],
  message: IncomingMessage,
  context: TriggerContext,
): TriggerName | undefined | Promise<TriggerName | undefined> {
  for (const [index, name] of names.entries()) {
    const trigger: Trigger = GROUP_TRIGGERS[name];
    const fires = trigger.fires(message, context);
    if (fires === true) return name;
    if (fires === false) continue;
    return fires.then((late) =>
      late ? name : firstThatFires(names.slice(index + 1), message, context),
    );
  }
  return undefined;
}
