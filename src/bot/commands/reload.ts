// `/重载`: the host program reads its settings again.

import type { Command } from "./command.ts";

export const RELOAD: Command = {
  names: ["重载", "reload"],
  needs: "admin",
  run: async ({ reload, phrases }) => {
    if (reload === undefined) return phrases.nothingToReload;
    return (await reload()) ?? phrases.reloaded;
  },
};
