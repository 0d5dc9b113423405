// Fires on every message.

import type { Trigger } from "./trigger.ts";

export const any: Trigger = { fires: () => true };
