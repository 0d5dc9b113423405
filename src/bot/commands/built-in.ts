// The commands every bot knows, in the order they are listed. A new one is a file of its own and a line here.

import { ALLOW_HERE } from "./allow-here.ts";
import type { Command } from "./command.ts";
import { DENY_HERE } from "./deny-here.ts";
import { FORGET } from "./forget.ts";
import { HELP } from "./help.ts";
import { HISTORY } from "./history.ts";
import { MUTE_HERE } from "./mute-here.ts";
import { PERSONA } from "./persona.ts";
import { RELOAD } from "./reload.ts";
import { RESET } from "./reset.ts";
import { RETRY } from "./retry.ts";
import { STATS } from "./stats.ts";
import { STATUS } from "./status.ts";
import { STOP } from "./stop.ts";
import { UNDO } from "./undo.ts";
import { UNMUTE_HERE } from "./unmute-here.ts";

export const BUILT_IN: readonly Command[] = [
  HELP,
  RESET,
  STOP,
  RETRY,
  UNDO,
  HISTORY,
  FORGET,
  PERSONA,
  STATUS,
  STATS,
  MUTE_HERE,
  UNMUTE_HERE,
  ALLOW_HERE,
  DENY_HERE,
  RELOAD,
];
