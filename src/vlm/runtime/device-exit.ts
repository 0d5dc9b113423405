// The end of the process while a CUDA provider is loaded: its exit handlers crash unless sessions and environment
// were released before, on the thread that used them. Counts what is alive; releases it all when the process exits.

import { CudaDevice } from "./cuda-device.ts";
import type { OpenDevice } from "./device.ts";
import { type Handle, loadOrt } from "./ort.ts";
import { endAtExit } from "./stop-at-exit.ts";

/** Longest wait for a run in progress. */
const EXIT_MS = 5000;

const sessions = new Map<CudaDevice, Set<Handle>>();
let listening = false;

/** Remembers a session that is released at exit at the latest. */
export function keepSession(device: OpenDevice, session: Handle): void {
  if (!(device instanceof CudaDevice)) return;
  if (!listening) endAtExit(releaseAll);
  listening = true;
  const known = sessions.get(device) ?? new Set();
  sessions.set(device, known.add(session));
}

/** Forgets a session that is released now. */
export function endDevice(device: OpenDevice, session: Handle): void {
  if (device instanceof CudaDevice) sessions.get(device)?.delete(session);
}

function releaseAll(): void {
  const ort = loadOrt();
  const devices = [...sessions.entries()];
  for (const [index, [device, handles]] of devices.entries()) {
    if (device.lost) continue;
    const calls = [...handles].map((handle) => ort.describeRelease("ReleaseSession", handle));
    // The environment goes last of all: runs of the CPU in progress were told to stop and are over by then.
    if (index === devices.length - 1)
      calls.push(ort.describeRelease("ReleaseEnv", ort.environment));
    device.thread.callAtExit(calls, EXIT_MS);
  }
}
