// A process that wants the lock of a directory. In: the directory. Out: `had` or `no` on its output, after a file `go` is
// there: until then it holds what it has, and a file `said-PID` tells that it knows.

import { existsSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import { isVlmError } from "../../src/vlm/errors.ts";
import { takeLock } from "../../src/vlm/hub/pull-lock.ts";

const [dir = ""] = process.argv.slice(2);
const lock = await takeLock(dir, "a/b", new AbortController().signal).catch((error: unknown) => {
  if (isVlmError(error) && error.code === "pull-running") return undefined;
  throw error;
});
writeFileSync(join(dir, `said-${process.pid}`), "");
while (!existsSync(join(dir, "go"))) await pause(20);
await lock?.release();
process.stdout.write(lock === undefined ? "no" : "had");
