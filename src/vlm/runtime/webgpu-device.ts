// The graphics card by way of WebGPU: one thread through which everything goes that touches it, since a run of one
// session and anything else of another at the same time crash the process. It knows nothing of sessions.

import { sharedController } from "../../abort.ts";
import { DeviceError } from "../errors.ts";
import { DeviceThread, type NativeCall } from "./device-thread.ts";
import { loadOrt } from "./ort.ts";
import { endAtExit } from "./stop-at-exit.ts";

/** Longest wait for a run in progress when the process exits. */
const EXIT_MS = 20_000;

/** Dawn's words, such as "[Device] is lost." and "A valid external Instance reference no longer exists: device lost". */
const LOST = /\bdevice\b.{0,40}\blost\b/iu;

/** The device "webgpu". One per process. */
export class WebGpuDevice {
  readonly thread: Pick<DeviceThread, "call" | "callAtExit" | "end">;
  /** Bytes that runs were given from the memory of the host, and gave back to it. */
  readonly traffic = { toDevice: 0, fromDevice: 0 };
  readonly #loss = sharedController();

  constructor(thread: WebGpuDevice["thread"] = new DeviceThread("webgpu")) {
    this.thread = thread;
    endAtExit(() => this.thread.callAtExit([], EXIT_MS));
  }

  /** Aborts when the device is lost, with the error that says so. */
  get loss(): AbortSignal {
    return this.#loss.signal;
  }

  /** Makes calls on the device's thread. @throws OrtError, or DeviceError when the device is lost */
  async call(
    calls: readonly NativeCall[],
    _?: { readonly records?: boolean; readonly what?: string },
  ): Promise<void> {
    this.loss.throwIfAborted();
    const results = await this.thread.call(calls).catch((cause: unknown) => {
      throw this.#lose("its thread ended", cause);
    });
    try {
      for (const result of results) loadOrt().check(result);
    } catch (error) {
      if (error instanceof Error && LOST.test(error.message)) {
        throw this.#lose(error.message, error);
      }
      throw error;
    }
  }

  /**
   * Makes calls that free something, whatever became of the device: a lost one stays the process's only one until all
   * its sessions are released.
   */
  async release(calls: readonly NativeCall[]): Promise<void> {
    await this.thread.call(calls).catch(() => {}); // With the thread it is gone.
  }

  #lose(reason: string, cause: unknown): DeviceError {
    if (!this.loss.aborted) {
      const message = `The device webgpu was lost: ${reason}.`;
      this.#loss.abort(new DeviceError("device-lost", message, { cause }));
    }
    return this.loss.reason;
  }
}

let device: WebGpuDevice | undefined;

/** The one device; a new one after the old one was lost. */
export function openWebGpu(): WebGpuDevice {
  if (device === undefined || device.loss.aborted) device = new WebGpuDevice();
  return device;
}
