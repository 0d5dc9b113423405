// `/统计`: what the bot has done since it was started, in numbers.

import type { Command } from "./command.ts";

export const STATS: Command = {
  names: ["统计", "stats"],
  needs: "group-admin",
  run: ({ counts, phrases }) => phrases.statsAre(counts.counted),
};
