// Which device to use when nobody says so: the first of CUDA, WebGPU and the CPU that works here. Out: a device, and
// why not the ones before it. Choosing is never silent: whoever asked is told.

import { openCuda } from "./cuda-device.ts";
import { type Device, tryDevice } from "./device.ts";

export interface ChosenDevice {
  readonly device: Device;
  /** A sentence for people. */
  readonly why: string;
}

/** How a device is tried, for tests. */
export interface DeviceTrials {
  /** Resolves to what was found, such as the name of a card. */
  readonly cuda: () => Promise<string>;
  readonly webgpu: () => Promise<void>;
}

const TRIALS: DeviceTrials = {
  cuda: async () => (await openCuda(0)).facts.name,
  webgpu: () => tryDevice("webgpu"),
};

export async function chooseDevice(trials: DeviceTrials = TRIALS): Promise<ChosenDevice> {
  const refusals: string[] = [];
  const refuse = (error: unknown) => {
    refusals.push(error instanceof Error ? error.message : String(error));
  };
  try {
    const card = await trials.cuda();
    return { device: "cuda:0", why: `The device "auto" is cuda:0: ${card}.` };
  } catch (error) {
    refuse(error);
  }
  try {
    await trials.webgpu();
    return { device: "webgpu", why: `The device "auto" is webgpu, because: ${refusals.join(" ")}` };
  } catch (error) {
    refuse(error);
  }
  return { device: "cpu", why: `The device "auto" is cpu, because: ${refusals.join(" ")}` };
}
