// How much memory is there, and free? A container's limit counts where it is lower.

import { totalmem } from "node:os";
import { freeMemory } from "../../vlm/runtime/free-memory.ts";
import type { Finding } from "./finding.ts";

const GIB = 2 ** 30;
/** A 2B in w8a8 with its caches does not fit into less. */
const LITTLE_MEMORY = 3 * GIB;

export function checkMemory(): Finding {
  const limit = process.constrainedMemory();
  const total = limit > 0 && limit < totalmem() ? limit : totalmem();
  const free = freeMemory();
  const what = { zh: "内存", en: "Memory" };
  const [freeGib, totalGib] = [free, total].map((bytes) => (bytes / GIB).toFixed(1));
  const found = {
    zh: `共 ${totalGib} GiB，可用 ${freeGib} GiB`,
    en: `${totalGib} GiB, ${freeGib} GiB of it free`,
  };
  if (free >= LITTLE_MEMORY) return { verdict: "ok", what, found };
  const advice = { zh: "只够很小的模型", en: "Enough for very small models only." };
  return { verdict: "warn", what, found, advice };
}
