// What is there and what is missing, for somebody who sets up a bot. In: settings. Out: one line for each check.
// It changes nothing on this machine.

import { totalmem } from "node:os";
import {
  checkDevice,
  checkModel,
  checkNapCat,
  checkPort,
  checkProcessor,
} from "./doctor-checks.ts";
import type { Finding, Verdict } from "./finding.ts";
import type { Settings } from "./settings.ts";
import { print } from "./terminal.ts";

const MARKS: Readonly<Record<Verdict, string>> = { ok: "✓ ok  ", warn: "! warn", fail: "✗ fail" };
const MIN_NODE = [20, 19];
const GIB = 2 ** 30;
/** A 2B in w8a8 with its caches does not fit into less. */
const LITTLE_MEMORY = 3 * GIB;

/** Prints every finding; resolves to exit code 1 if something has to be done, else 0. */
export async function doctor(settings: Settings, signal: AbortSignal): Promise<number> {
  const checks: readonly (() => Finding | Promise<Finding>)[] = [
    checkNode,
    checkProcessor,
    checkMemory,
    () => checkDevice(settings.device),
    () => checkModel(settings, signal),
    () => checkPort(settings),
    () => checkNapCat(settings, signal),
  ];
  let failures = 0;
  for (const check of checks) {
    const finding = await check();
    signal.throwIfAborted();
    if (finding.verdict === "fail") failures++;
    show(finding);
  }
  print();
  print(
    failures === 0
      ? "可以启动 · ready: napcat-vlm start"
      : `有 ${failures} 项需要处理 · ${failures} to be fixed, see above`,
  );
  return failures === 0 ? 0 : 1;
}

function show({ verdict, what, found, advice }: Finding): void {
  print(`${MARKS[verdict]}  ${what}: ${found}`);
  if (advice !== undefined) print(`        → ${advice}`);
}

function checkNode(): Finding {
  const [major = 0, minor = 0] = process.versions.node.split(".").map(Number);
  const [minMajor = 0, minMinor = 0] = MIN_NODE;
  const enough = major > minMajor || (major === minMajor && minor >= minMinor);
  const found = `${process.version} (${process.platform} ${process.arch})`;
  return enough
    ? { verdict: "ok", what: "Node.js", found }
    : { verdict: "fail", what: "Node.js", found, advice: `需要 · needs >= ${MIN_NODE.join(".")}` };
}

function checkMemory(): Finding {
  const limit = process.constrainedMemory();
  const total = limit > 0 && limit < totalmem() ? limit : totalmem();
  const free = process.availableMemory();
  const found = `${(free / GIB).toFixed(1)} GiB 可用 free, ${(total / GIB).toFixed(1)} GiB`;
  const what = "内存 Memory";
  if (free >= LITTLE_MEMORY) return { verdict: "ok", what, found };
  const advice = "只够很小的模型 · enough for very small models only";
  return { verdict: "warn", what, found, advice };
}
