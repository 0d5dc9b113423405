// `/停用`: the bot does not serve this chat, whatever the lists say. What runs here ends.

import type { Command } from "./command.ts";

export const DENY_HERE: Command = {
  names: ["停用", "deny"],
  needs: "admin",
  run: ({ message, switches, cancellation, phrases }) => {
    switches.change(message.chat, { access: "deny" });
    cancellation.stop(message.chat);
    return phrases.deniedHere;
  },
};
