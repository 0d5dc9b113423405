// `/说话`: the bot may speak here again, also where it had given up because messages did not arrive.

import type { Command } from "./command.ts";

export const UNMUTE_HERE: Command = {
  names: ["说话", "unmute"],
  needs: "group-admin",
  run: ({ message, switches, breaker, phrases }) => {
    switches.change(message.chat, { mutedUntilMs: undefined });
    breaker.close(message.chat);
    return phrases.unmutedHere;
  },
};
