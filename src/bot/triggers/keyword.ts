// Fires when one of the keywords stands anywhere in the text.

import { type Trigger, typedText } from "./trigger.ts";

export const keyword: Trigger = {
  fires: (message, { triggers: { keywords } }) => {
    if (keywords.length === 0) return false;
    const text = typedText(message).toLowerCase();
    return keywords.some((word) => word !== "" && text.includes(word.toLowerCase()));
  },
};
