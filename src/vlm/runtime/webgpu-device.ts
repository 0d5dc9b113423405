// The graphics card by way of WebGPU: one thread through which everything goes that touches it, since a run of one
// session and anything else of another at the same time crash the process. It knows nothing of sessions.

import { DeviceError } from "../errors.ts";
import { DeviceThread, type NativeCall } from "./device-thread.ts";
import { loadOrt } from "./ort.ts";
import { endAtExit } from "./stop-at-exit.ts";

/** Longest wait for a run in progress when the process exits. */
const EXIT_MS = 20_000;

/** The device "webgpu". One per process. */
export class WebGpuDevice {
  readonly thread = new DeviceThread("webgpu");
  #lost: DeviceError | undefined;

  constructor() {
    endAtExit(() => this.thread.callAtExit([], EXIT_MS));
  }

  get lost(): DeviceError | undefined {
    return this.#lost;
  }

  /** Makes calls on the device's thread. @throws OrtError, or DeviceError when the device is lost */
  async call(calls: readonly NativeCall[]): Promise<void> {
    if (this.#lost) throw this.#lost;
    const results = await this.thread.call(calls).catch((cause: unknown) => {
      throw this.#lose("its thread ended", cause);
    });
    try {
      for (const result of results) loadOrt().check(result);
    } catch (error) {
      if (error instanceof Error && /device (?:is |was )?lost/iu.test(error.message)) {
        throw this.#lose(error.message, error);
      }
      throw error;
    }
  }

  #lose(reason: string, cause: unknown): DeviceError {
    const message = `The device webgpu was lost: ${reason}. Load the model again.`;
    this.#lost ??= new DeviceError("device-lost", message, { cause });
    return this.#lost;
  }
}

let device: WebGpuDevice | undefined;

/** The one device; a new one after the old one was lost. */
export function openWebGpu(): WebGpuDevice {
  if (device === undefined || device.lost) device = new WebGpuDevice();
  return device;
}
