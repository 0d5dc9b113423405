// How many threads one run should use. Out: a number, from the operating system. It knows nothing of ONNX Runtime
// except that more threads than cores make it twice as slow.

import { readFileSync } from "node:fs";
import { availableParallelism } from "node:os";

/**
 * Physical cores that this process may use: two threads of one core share the arithmetic units, and a container may
 * be granted less than the machine has.
 *
 * Where the system does not tell (macOS, Windows), `0`: ONNX Runtime then counts the physical cores itself.
 */
export function defaultThreads(read: (path: string) => string | undefined = readText): number {
  if (process.platform !== "linux") return 0;
  const allowed = allowedCpus(read("/proc/self/status"));
  const cores = new Set(
    allowed.map(
      (cpu) =>
        read(`/sys/devices/system/cpu/cpu${cpu}/topology/thread_siblings_list`)?.trim() ?? cpu,
    ),
  );
  const physical = cores.size > 0 ? cores.size : availableParallelism();
  return Math.max(1, Math.min(physical, cpuQuota(read), availableParallelism()));
}

/** The same as a number everywhere: where the system does not tell, all that this process may use count. */
export function physicalCores(): number {
  return defaultThreads() || availableParallelism();
}

/** The CPUs of a line such as `Cpus_allowed_list: 0-3,8`. */
function allowedCpus(status = ""): number[] {
  const list = /^Cpus_allowed_list:\s*([\d,-]+)/m.exec(status)?.[1] ?? "";
  return list.split(",").flatMap((range) => {
    const [first, last = first] = range.split("-").map(Number);
    if (range === "" || first === undefined || last === undefined) return [];
    return Array.from({ length: last - first + 1 }, (_, offset) => first + offset);
  });
}

/** CPUs that the control groups of this process grant, rounded down; what is not limited is infinite. */
function cpuQuota(read: (path: string) => string | undefined): number {
  const groups = read("/proc/self/cgroup") ?? "";
  const unified = /^0::(\/.*)$/m.exec(groups)?.[1] ?? "/"; // version 2
  const controller = /^\d+:[^:]*\bcpu\b[^:]*:(\/.*)$/m.exec(groups)?.[1] ?? "/"; // version 1
  const quotas = [
    ...ancestorGroups(unified).map((path) =>
      read(`/sys/fs/cgroup${path}cpu.max`)?.trim().split(" "),
    ),
    ...ancestorGroups(controller).map((path) =>
      ["quota", "period"].map((file) => read(`/sys/fs/cgroup/cpu${path}cpu.cfs_${file}_us`)),
    ),
  ];
  let granted = Number.POSITIVE_INFINITY;
  for (const [quota, period] of quotas.filter((entry) => entry !== undefined)) {
    const cpus = Number(quota) / Number(period); // "max" and what is missing become NaN, -1 is no limit
    if (cpus > 0) granted = Math.min(granted, Math.max(1, Math.floor(cpus)));
  }
  return granted;
}

/** A group and the groups around it, each ending in a slash: "/", "/a/", "/a/b/". */
export function ancestorGroups(path: string): string[] {
  const names = path.split("/").filter((name) => name !== "");
  return Array.from({ length: names.length + 1 }, (_, depth) =>
    ["", ...names.slice(0, depth), ""].join("/"),
  );
}

function readText(path: string): string | undefined {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return undefined;
  }
}
