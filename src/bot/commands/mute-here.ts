// `/闭嘴`: the bot says nothing here but answers to commands, for a time such as `30分钟` or `2h`, or until it is told.

import type { Command } from "./command.ts";

const MINUTE_MS = 60_000;
const UNITS: readonly (readonly [name: RegExp, ms: number])[] = [
  [/^(s|sec|秒)/iu, 1000],
  [/^($|m|min|分)/iu, MINUTE_MS],
  [/^(h|小时|时)/iu, 60 * MINUTE_MS],
  [/^(d|天|日)/iu, 24 * 60 * MINUTE_MS],
];

export const MUTE_HERE: Command = {
  names: ["闭嘴", "mute"],
  needs: "group-admin",
  run: ({ message, argument, switches, cancellation, phrases }) => {
    const durationMs = argument.trim() === "" ? Infinity : durationOf(argument);
    if (durationMs === undefined) return phrases.muteUnclear;
    switches.mute(message.chat, durationMs);
    cancellation.stop(message.chat);
    return phrases.mutedHere(durationMs);
  },
};

/** `10`, `30m`, `2 小时`: minutes where no unit is written. */
function durationOf(text: string): number | undefined {
  const [, amount = "", unit = ""] = /^(\d{1,6}(?:\.\d+)?)\s*(\D*)$/u.exec(text.trim()) ?? [];
  const ms = UNITS.find(([name]) => name.test(unit.trim()))?.[1];
  const duration = Number(amount) * (ms ?? Number.NaN);
  return duration > 0 ? duration : undefined;
}
