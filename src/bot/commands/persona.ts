// `/人设`: as whom the bot speaks in this chat. Without words it says what that is; `默认` takes it back.

import type { Command } from "./command.ts";

const DEFAULT = /^(默认|清除|default|clear)$/iu;
const MAX_CHARACTERS = 2000;

export const PERSONA: Command = {
  names: ["人设", "persona"],
  needs: "group-admin",
  run: ({ message, argument, switches, phrases }) => {
    const { chat } = message;
    const wanted = argument.trim();
    if (wanted === "") return phrases.personaIs(switches.of(chat).persona);
    if (wanted.length > MAX_CHARACTERS) return phrases.personaTooLong(MAX_CHARACTERS);
    const persona = DEFAULT.test(wanted) ? undefined : wanted;
    switches.change(chat, { persona });
    return phrases.personaSet(persona !== undefined);
  },
};
