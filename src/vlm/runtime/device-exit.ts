// The end of the process while a provider for cards is loaded: its exit handlers crash unless sessions, on the threads that
// used them, and then the environment were released before. In: that a provider is loaded, sessions that live. Out:
// nothing; when the process exits, it is all released.

import { CudaDevice } from "./cuda-device.ts";
import type { OpenDevice } from "./device.ts";
import type { Handle, Ort } from "./ort.ts";
import { endAtExit } from "./stop-at-exit.ts";

/** Longest wait for a run in progress. */
const EXIT_MS = 5000;

type ExitingOrt = Pick<Ort, "describeRelease" | "release" | "environment">;

/** What has to be released before the process ends. */
export class DeviceExit {
  readonly #cards = new Set<CudaDevice>();
  readonly #atExit: (end: () => void) => void;
  #ort: ExitingOrt | undefined;

  /** @param atExit is given what to do when the process exits */
  constructor(atExit: (end: () => void) => void) {
    this.#atExit = atExit;
  }

  /** A provider is about to be loaded: from now on the environment must not be left behind, whatever comes of it. */
  keepProvider(ort: ExitingOrt): void {
    if (!this.#ort) this.#atExit(() => this.#releaseAll(ort));
    this.#ort = ort;
  }

  /** Remembers a session that is released at exit at the latest. */
  keepSession(device: OpenDevice, session: Handle): void {
    if (!(device instanceof CudaDevice)) return;
    this.#cards.add(device);
    device.sessions.add(session);
  }

  /** Forgets a session that is released now. */
  endSession(device: OpenDevice, session: Handle): void {
    if (device instanceof CudaDevice) device.sessions.delete(session);
  }

  /**
   * Sessions of a lost card are left as they are: releasing them may crash. But the environment goes in any case, unless
   * somebody computes with it who does not come to an end.
   */
  #releaseAll(ort: ExitingOrt): void {
    const ends = [...this.#cards]
      .filter(({ loss }) => !loss.aborted)
      .map(({ thread, sessions }) => {
        const calls = [...sessions].map((session) =>
          ort.describeRelease("ReleaseSession", session),
        );
        return thread.callAtExit(calls, EXIT_MS);
      });
    // Runs of the CPU in progress were told to stop, and are over by then.
    if (!ends.includes("late")) ort.release("ReleaseEnv", ort.environment);
  }
}

/** Of this process. */
export const deviceExit = new DeviceExit(endAtExit);
