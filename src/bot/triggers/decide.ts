// Fires when the model itself thinks that a message is meant for the bot, or that an answer would help.

import { type Trigger, typedText } from "./trigger.ts";

export const decide: Trigger = {
  fires: async (message, { triggers, wantsAnswer }) =>
    typedText(message) !== "" && (await wantsAnswer()) >= triggers.decide.threshold,
};
