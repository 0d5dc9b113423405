// Fires on messages that are pictures and nothing else; stickers of QQ's shop are small talk, no pictures.

import type { Trigger } from "./trigger.ts";

export const picture: Trigger = {
  fires: ({ segments }) => {
    const said = segments.filter(({ type }) => type !== "reply");
    if (said.length === 0) return false;
    return said.every((segment) => segment.type === "image" && !segment.image.marketFace);
  },
};
