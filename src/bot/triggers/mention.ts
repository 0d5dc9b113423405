// Fires on an @ of the bot; an @ of everybody is none.

import type { Trigger } from "./trigger.ts";

export const mention: Trigger = {
  fires: ({ segments, selfId }) =>
    segments.some((segment) => segment.type === "at" && segment.target === selfId),
};
