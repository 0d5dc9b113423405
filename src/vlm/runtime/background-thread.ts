// Computing that gives way: a thread of a lower priority on which a session of the CPU is made and run, and which hands its
// priority down to the threads that ONNX Runtime makes there. Everything else in the process, the event loop first of all,
// then has a core as soon as it wants one. In: calls with plain arguments. It knows nothing of sessions.

import { DeviceThread, type NativeCall } from "./device-thread.ts";
import { loadOrt } from "./ort.ts";
import { endAtExit } from "./stop-at-exit.ts";

/** Added to the process's own: a tenth of the share of a thread without. */
const NICER = 10;

/** Longest wait for a run in progress when the process exits: Node would wait for the thread anyway, and longer. */
const EXIT_MS = 60_000;

/** The thread of one session. The process may end while it has nothing to do. */
export class BackgroundThread {
  readonly #thread = new DeviceThread("compute", { nicer: NICER });
  readonly #forget = endAtExit(() => this.#thread.callAtExit([], EXIT_MS));

  /** @throws OrtError, DeviceThreadError */
  async call(calls: readonly NativeCall[]): Promise<void> {
    for (const result of await this.#thread.call(calls)) loadOrt().check(result);
  }

  /** Ends the thread after the calls in progress. */
  async end(): Promise<void> {
    this.#forget();
    await this.#thread.end();
  }
}
