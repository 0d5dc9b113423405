// `/状态`: what the bot is doing now, and whether it answers here.

import type { Command } from "./command.ts";

export const STATUS: Command = {
  names: ["状态", "status"],
  run: ({ message, turns, switches, breaker, isServed, phrases }) => {
    const running = turns.list();
    const answering = running.filter(
      ({ stage }) => stage === "answering" || stage === "delivering",
    ).length;
    const speaks = switches.isMuted(message.chat) ? "muted" : "open";
    const here = isServed(message) ? speaks : "denied";
    return phrases.statusIs({
      answering,
      waiting: running.length - answering,
      here: breaker.isPaused(message.chat) ? "paused" : here,
    });
  },
};
