// `/启用`: the bot serves this chat, whatever the lists say.

import type { Command } from "./command.ts";

export const ALLOW_HERE: Command = {
  names: ["启用", "allow"],
  needs: "admin",
  run: ({ message, switches, phrases }) => {
    switches.change(message.chat, { access: "allow" });
    return phrases.allowedHere;
  },
};
