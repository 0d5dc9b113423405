// The end of the process while a CUDA provider is loaded: its exit handlers crash unless sessions and environment
// were released before, on the thread that used them. Counts what is alive; releases it all when the process exits.

import { CudaDevice } from "./cuda-device.ts";
import type { OpenDevice } from "./device.ts";
import { type Handle, loadOrt } from "./ort.ts";
import { endAtExit } from "./stop-at-exit.ts";

/** Longest wait for a run in progress. */
const EXIT_MS = 5000;

const devices = new Set<CudaDevice>();
let listening = false;

/** Remembers a session that is released at exit at the latest. */
export function keepSession(device: OpenDevice, session: Handle): void {
  if (!(device instanceof CudaDevice)) return;
  if (!listening) endAtExit(releaseAll);
  listening = true;
  devices.add(device);
  device.sessions.add(session);
}

/** Forgets a session that is released now. */
export function endDevice(device: OpenDevice, session: Handle): void {
  if (device instanceof CudaDevice) device.sessions.delete(session);
}

function releaseAll(): void {
  const ort = loadOrt();
  const there = [...devices].filter(({ loss }) => !loss.aborted);
  for (const [index, device] of there.entries()) {
    const calls = [...device.sessions].map((handle) =>
      ort.describeRelease("ReleaseSession", handle),
    );
    // The environment goes last of all: runs of the CPU in progress were told to stop and are over by then.
    if (index === there.length - 1) calls.push(ort.describeRelease("ReleaseEnv", ort.environment));
    device.thread.callAtExit(calls, EXIT_MS);
  }
}
