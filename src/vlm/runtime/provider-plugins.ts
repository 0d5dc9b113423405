// Execution providers in the form of plugins: libraries of a stable interface that ONNX Runtime is told of once, and that
// then name the devices they have. Core and plugin need not be of one release. In: a name and a file. Out: devices, and
// calls that let a session compute on one. It knows nothing of CUDA.

import { deviceExit } from "./device-exit.ts";
import type { DeviceThread, NativeCall } from "./device-thread.ts";
import { addresses, type Handle, type Ort, offHeap } from "./ort.ts";

/** A device of a plugin, as ONNX Runtime lists it. It belongs to the runtime. */
export interface PluginDevice {
  readonly handle: Handle;
  /** Name of the provider, such as "CUDAExecutionProvider". */
  readonly provider: string;
  /** As the provider counts its devices, where it says so. */
  readonly number?: number | undefined;
}

/** The plugins of this process, called on the thread of a device. */
export class ProviderPlugins {
  readonly #ort: Ort;
  readonly #thread: Pick<DeviceThread, "call">;

  constructor(ort: Ort, thread: Pick<DeviceThread, "call">) {
    this.#ort = ort;
    this.#thread = thread;
  }

  /** Loads a plugin, once per process and name; again is fine. @throws OrtError with what the system's loader says */
  async register(name: string, file: string): Promise<void> {
    await this.#ort.prepare();
    deviceExit.keepProvider(this.#ort);
    const { environment } = this.#ort;
    const call = this.#ort.describe("RegisterExecutionProviderLibrary", environment, name, file);
    const [status] = await this.#thread.call([call]);
    try {
      this.#ort.check(status ?? null);
    } catch (error) {
      if (!(error instanceof Error) || !/already registered/u.test(error.message)) throw error;
    }
  }

  /** All devices of all plugins, and the CPU. @param numberKey under which a provider says which of its devices it is */
  async devices(numberKey: string): Promise<PluginDevice[]> {
    await this.#ort.prepare();
    const [list, count] = [addresses(1), addresses(1)];
    const call = this.#ort.describe("GetEpDevices", this.#ort.environment, list, count);
    const [status] = await this.#thread.call([call]);
    this.#ort.check(status ?? null);
    const handles = new BigUint64Array(this.#ort.memory(list[0]!, 8 * Number(count[0])));
    return Array.from(handles, (handle) => {
      const number = this.#ort.entryOf("EpDevice_EpMetadata", handle, numberKey);
      return {
        handle,
        provider: this.#ort.textOf("EpDevice_EpName", handle),
        number: number === undefined ? undefined : Number(number),
      };
    });
  }

  /** A call that lets a session compute on a device. */
  append(
    sessionOptions: Handle,
    { handle }: PluginDevice,
    options: Readonly<Record<string, string>>,
  ): NativeCall {
    const list = (texts: readonly string[]) => {
      const found = addresses(Math.max(1, texts.length));
      const bytes = texts.map((text) => offHeap(Buffer.from(`${text}\0`)));
      for (const [index, text] of bytes.entries()) found[index] = this.#ort.address(text);
      return Object.assign(found, { bytes }); // The strings live as long as the list.
    };
    const [devices, count] = [addresses(1), Object.keys(options).length];
    devices[0] = handle;
    return this.#ort.describe(
      "SessionOptionsAppendExecutionProvider_V2",
      sessionOptions,
      this.#ort.environment,
      devices,
      1,
      list(Object.keys(options)),
      list(Object.values(options)),
      count,
    );
  }
}
