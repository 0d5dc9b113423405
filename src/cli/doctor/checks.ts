// The checks of `napcat-vlm doctor` in the order of the report. Whatever loads something native runs in a process of
// its own (see native-checks.ts), so that a crash there is one line of the report and not its end.

import { checkDisk } from "./check-disk.ts";
import { checkMemory } from "./check-memory.ts";
import { checkModel } from "./check-model.ts";
import { checkNapCat } from "./check-napcat.ts";
import { checkNode } from "./check-node.ts";
import { checkPictureHosts } from "./check-picture-hosts.ts";
import { checkPort } from "./check-port.ts";
import { checkProcessor } from "./check-processor.ts";
import { checkSystem } from "./check-system.ts";
import type { Check } from "./finding.ts";
import { isolated } from "./isolated.ts";

export const CHECKS: readonly Check[] = [
  checkNode,
  checkSystem,
  checkProcessor,
  checkMemory,
  checkDisk,
  isolated("runtime"),
  isolated("device"),
  isolated("speed"),
  isolated("pictures"),
  isolated("tokenizer"),
  checkModel,
  checkPort,
  checkNapCat,
  checkPictureHosts,
];
