// A disk in a bad mood. In: what each call of the file system is to fail with, and for how long. Out: a Disk over the
// real file system with a clock of its own, so that waiting takes no time.

import * as promises from "node:fs/promises";
import { Disk, type DiskParts } from "../../src/disk.ts";

type Call = keyof DiskParts["fs"];

/** The code of the error that a call with these arguments fails with now; undefined lets it through. */
export type Mood = (
  call: Call,
  args: readonly unknown[],
  milliseconds: number,
) => string | undefined;

export interface ScriptedDisk {
  readonly disk: Disk;
  /** Pauses so far, in milliseconds. */
  readonly pauses: number[];
  /** Calls by name, those that failed too. */
  readonly calls: Call[];
}

export function systemError(code: string): NodeJS.ErrnoException {
  return Object.assign(new Error(`${code}: scripted`), { code });
}

export function scriptedDisk(
  mood: Mood,
  options: {
    readonly platform?: string;
    readonly free?: { readonly bavail: number; readonly bsize: number; readonly blocks: number };
  } = {},
): ScriptedDisk {
  const { platform = "linux", free } = options;
  let now = 0;
  const pauses: number[] = [];
  const calls: Call[] = [];
  const fs = new Proxy(promises, {
    get: (real, name) => {
      const call = name as Call;
      return async (...args: unknown[]) => {
        calls.push(call);
        const code = mood(call, args, now);
        if (code !== undefined) throw systemError(code);
        if (call === "statfs" && free !== undefined) return free;
        return Reflect.apply(real[call] as (...rest: unknown[]) => unknown, real, args);
      };
    },
  });
  const disk = new Disk({
    fs,
    platform: () => platform,
    now: () => now,
    pause: async (milliseconds, signal) => {
      signal?.throwIfAborted();
      pauses.push(milliseconds);
      now += milliseconds;
    },
  });
  return { disk, pauses, calls };
}
