// How much is free where the model lies: a first start writes a package there.

import { disk } from "../../disk.ts";
import type { CheckContext, Finding } from "./finding.ts";

/** A 2B in w8a8 takes more. */
const LITTLE_BYTES = 3e9;

export async function checkDisk({ settings: { model } }: CheckContext): Promise<Finding> {
  const what = { zh: "磁盘", en: "Disk" };
  const free = await disk.freeBytes(model);
  if (free === undefined) {
    const found = { zh: "系统没有说剩多少空间", en: "the system does not say how much is free" };
    return { verdict: "ok", what, found };
  }
  const size = `${(free / 1e9).toFixed(1)} GB`;
  const found = { zh: `模型所在处剩 ${size}`, en: `${size} free where the model lies` };
  if (free >= LITTLE_BYTES) return { verdict: "ok", what, found };
  const advice = {
    zh: "按 w8a8 转换，2B 需要 2.8 GB，4B 需要 5.2 GB，8B 需要 9.4 GB",
    en: "Converted to w8a8, a 2B takes 2.8 GB, a 4B 5.2 GB, an 8B 9.4 GB.",
  };
  return { verdict: "warn", what, found, advice };
}
