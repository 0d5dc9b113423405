import { availableParallelism } from "node:os";
import { describe, expect, it } from "vitest";
import { defaultThreads } from "../../../src/vlm/runtime/cpu-threads.ts";

const topology = (cpu: number) => `/sys/devices/system/cpu/cpu${cpu}/topology/thread_siblings_list`;

/** A machine described by its files. */
const machine = (files: Record<string, string>) => (path: string) => files[path];

describe.runIf(process.platform === "linux")("defaultThreads", () => {
  it("is between one and what the machine has", () => {
    expect(defaultThreads()).toBeGreaterThanOrEqual(1);
    expect(defaultThreads()).toBeLessThanOrEqual(availableParallelism());
  });

  it("counts two threads of a core once", () => {
    const read = machine({
      "/proc/self/status": "Name:\tnode\nCpus_allowed_list:\t0-1\n",
      [topology(0)]: "0-1\n",
      [topology(1)]: "0-1\n",
    });
    expect(defaultThreads(read)).toBe(1);
  });

  it("keeps to what the control group grants, in both versions and at every level", () => {
    const quota = (files: Record<string, string>) =>
      defaultThreads(machine({ "/proc/self/status": "Cpus_allowed_list:\t0-63\n", ...files }));
    const unlimited = quota({});
    expect(quota({ "/sys/fs/cgroup/cpu.max": "max 100000\n" })).toBe(unlimited);
    expect(quota({ "/sys/fs/cgroup/cpu.max": "150000 100000\n" })).toBe(1);
    expect(quota({ "/sys/fs/cgroup/cpu.max": "50000 100000\n" })).toBe(1);
    expect(
      quota({
        "/proc/self/cgroup": "0::/bots/one\n",
        "/sys/fs/cgroup/bots/cpu.max": "100000 100000\n",
        "/sys/fs/cgroup/bots/one/cpu.max": "max 100000\n",
      }),
    ).toBe(1);
    expect(
      quota({
        "/sys/fs/cgroup/cpu/cpu.cfs_quota_us": "100000\n",
        "/sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000\n",
      }),
    ).toBe(1);
    expect(
      quota({
        "/sys/fs/cgroup/cpu/cpu.cfs_quota_us": "-1\n",
        "/sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000\n",
      }),
    ).toBe(unlimited);
  });

  it("falls back to the operating system's own count", () => {
    expect(defaultThreads(machine({}))).toBe(availableParallelism());
  });
});
