// Fires when the text begins with one of the prefixes, such as `#` or `问：`.

import { type Trigger, typedText } from "./trigger.ts";

export const prefix: Trigger = {
  fires: (message, { triggers: { prefixes } }) => {
    if (prefixes.length === 0) return false;
    const text = typedText(message).toLowerCase();
    return prefixes.some((begin) => begin !== "" && text.startsWith(begin.toLowerCase()));
  },
};
