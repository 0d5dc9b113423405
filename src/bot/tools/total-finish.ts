// The ends of several steps in, one end for all of them out: tokens and times added up, the reason that of the last.

import type { FinishPart } from "../../vlm/index.ts";

export function addFinish(before: FinishPart | undefined, part: FinishPart): FinishPart {
  if (before === undefined) return part;
  return {
    ...part,
    usage: sum(before.usage, part.usage),
    timings: sum(before.timings, part.timings),
    cache: sum(before.cache, part.cache),
  };
}

/** Field by field; what only one of them has is as it is there. */
function sum<T extends object>(one: T, other: T): T {
  const totals: [string, unknown][] = Object.entries(other).map(([key, value]) => [
    key,
    value + (Reflect.get(one, key) ?? 0),
  ]);
  return { ...one, ...Object.fromEntries(totals) };
}
