// Fires on a quote of one of the bot's own messages.

import { quotedId, type Trigger } from "./trigger.ts";

export const quote: Trigger = {
  fires: (message, { quotesBot }) => quotedId(message) !== undefined && quotesBot(),
};
