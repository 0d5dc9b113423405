// Is this message for the bot? In: a message and which triggers its chat has. Out: the name of the first that fires.

import type { IncomingMessage } from "../napcat/events.ts";
import { any } from "./any.ts";
import { mention } from "./mention.ts";
import { quote } from "./quote.ts";
import type { Trigger, TriggerContext } from "./trigger.ts";

/**
 * What makes the bot answer in a group.
 * - `mention`: an @ of the bot, not of everybody
 * - `quote`: a quote of one of the bot's own messages
 * - `any`: every message
 */
export type GroupTrigger = "mention" | "quote" | "any";

export interface Triggers {
  readonly group: readonly GroupTrigger[];
  /** Answer private messages, including temporary sessions. */
  readonly private: boolean;
}

/** What made a message one for the bot. */
export type TriggerName = GroupTrigger | "private";

/** Those that look something up come last: whatever fires before them spares the look-up. */
const GROUP_TRIGGERS: Readonly<Record<GroupTrigger, Trigger>> = { any, mention, quote };

/**
 * The trigger that fires, or `undefined` for none. A promise only where something has to be looked up:
 * most messages are for somebody else, and to know that must cost nothing.
 */
export function decideTrigger(
  message: IncomingMessage,
  triggers: Triggers,
  context: TriggerContext,
): TriggerName | undefined | Promise<TriggerName | undefined> {
  if (message.fromSelf) return undefined;
  if (message.chat.kind === "private") return triggers.private ? "private" : undefined;
  const names = Object.keys(GROUP_TRIGGERS) as GroupTrigger[];
  return firstThatFires(
    names.filter((name) => triggers.group.includes(name)),
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
    const fires = GROUP_TRIGGERS[name].fires(message, context);
    if (fires === true) return name;
    if (fires === false) continue;
    return fires.then((late) =>
      late ? name : firstThatFires(names.slice(index + 1), message, context),
    );
  }
  return undefined;
}
