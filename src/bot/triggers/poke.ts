// Fires when somebody pokes the bot. A poke comes as a notice and says nothing: `poke-message.ts` makes a message of it.

import type { Trigger } from "./trigger.ts";

export const poke: Trigger = { fires: ({ poke: isPoke }) => isPoke === true };
