// Memory that this process may still take. What a container allows counts where it is lower than what the machine has,
// and what it holds of files does not: that is given back when it is needed. Out: bytes.

import { readFileSync } from "node:fs";
import { freemem, totalmem } from "node:os";
import { ancestorGroups } from "./cpu-threads.ts";

export interface MemorySources {
  /** Of a file of the system; undefined where there is none. */
  readonly read: (path: string) => string | undefined;
  readonly platform: NodeJS.Platform;
  /** Of the machine, in bytes; on Linux what can be had without swapping. */
  readonly machineFree: number;
  readonly machineTotal: number;
}

/** macOS counts what it can give back as used: of its memory this much can be had. */
const MAC_SHARE = 0.7;

export function freeMemory(sources: MemorySources = thisMachine()): number {
  const { platform, machineFree, machineTotal } = sources;
  if (platform === "darwin") return Math.max(machineFree, MAC_SHARE * machineTotal);
  return Math.min(machineFree, ...(platform === "linux" ? groupsFree(sources.read) : []));
}

/** What the control groups around this process leave, those of version 2 and of version 1. */
function groupsFree(read: MemorySources["read"]): number[] {
  const groups = read("/proc/self/cgroup") ?? "";
  const unified = /^0::(\/.*)$/m.exec(groups)?.[1] ?? "/";
  const controller = /^\d+:[^:]*\bmemory\b[^:]*:(\/.*)$/m.exec(groups)?.[1] ?? "/";
  return [
    ...ancestorGroups(unified).map((path) =>
      left(read, `/sys/fs/cgroup${path}`, ["memory.max", "memory.current"], "inactive_file"),
    ),
    ...ancestorGroups(controller).map((path) =>
      left(
        read,
        `/sys/fs/cgroup/memory${path}`,
        ["memory.limit_in_bytes", "memory.usage_in_bytes"],
        "total_inactive_file",
      ),
    ),
  ].filter((bytes) => !Number.isNaN(bytes));
}

/** NaN where there is no limit: `max`, or no such file. */
function left(
  read: MemorySources["read"],
  group: string,
  [limitFile, usedFile]: readonly [string, string],
  inactive: string,
): number {
  const [limit, used] = [limitFile, usedFile].map((file) => Number(read(group + file) ?? "none"));
  const stat = read(`${group}memory.stat`) ?? "";
  const files = [inactive, inactive.replace("inactive", "active")].map((name) =>
    Number(new RegExp(`^${name} (\\d+)$`, "m").exec(stat)?.[1] ?? 0),
  );
  const held = files.reduce((sum, bytes) => sum + bytes, 0);
  return Math.max(0, (limit ?? Number.NaN) - Math.max(0, (used ?? Number.NaN) - held));
}

function thisMachine(): MemorySources {
  return {
    read: (path) => {
      try {
        return readFileSync(path, "utf8");
      } catch {
        return undefined;
      }
    },
    platform: process.platform,
    machineFree: freemem(),
    machineTotal: totalmem(),
  };
}
