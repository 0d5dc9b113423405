// Fires now and then, at random, on messages that say or show something.

import type { Trigger } from "./trigger.ts";

export const probability: Trigger = {
  fires: ({ segments }, { triggers, random }) =>
    segments.some(({ type }) => type === "text" || type === "image") &&
    random() < triggers.probability,
};
