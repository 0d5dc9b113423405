// Other options for a bot that runs. In: those that hold, and those that are to. Out: the new ones, checked and complete,
// and which of them come too late. It knows nothing of who follows them.

import {
  type InstallVlmOptions,
  parseInstallOptions,
  type ResolvedInstallOptions,
} from "./options.ts";

/** What can be said to a bot that runs: all but what it was built on. */
export type BotChanges = Omit<InstallVlmOptions, "model" | "store" | "logger" | "signal">;

/** @throws {TypeError | RangeError} naming every option that is wrong. */
export function changedOptions(
  before: ResolvedInstallOptions,
  changes: BotChanges,
): ResolvedInstallOptions {
  const { model, store } = before.responder;
  const options = parseInstallOptions({ ...changes, model, store });
  return { ...options, logger: before.logger, signal: before.signal };
}

/** Sizes of memory that was taken at the beginning. */
export const FROM_THE_START = ["maxChats", "maxTotalBytes"] as const;

/** Options that differ and only hold for a bot that is installed with them. */
export function needsRestart(
  before: ResolvedInstallOptions,
  after: ResolvedInstallOptions,
): readonly string[] {
  return FROM_THE_START.filter(
    (name) => before.responder.history[name] !== after.responder.history[name],
  ).map((name) => `history.${name}`);
}
