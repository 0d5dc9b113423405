// `/帮助`: which commands there are. In: who asks. Out: those this person may use.

import type { Command } from "./command.ts";

export const HELP: Command = {
  names: ["帮助", "help"],
  run: ({ allowed, phrases }) => {
    const lines = allowed.map(({ typed, command }) => {
      const summary = command.summary ?? summaryOf(command, phrases.commandSummaries);
      return summary === undefined ? typed : `${typed}：${summary}`;
    });
    return [phrases.helpTitle, ...lines].join("\n");
  },
};

function summaryOf(
  { names }: Command,
  summaries: Readonly<Record<string, string>>,
): string | undefined {
  const name = names.find((known) => Object.hasOwn(summaries, known));
  return name === undefined ? undefined : summaries[name];
}
