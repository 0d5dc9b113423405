// Which device to use when nobody says so: the first of CUDA, WebGPU and the CPU that works here. Out: a device, and
// why not the ones before it. Choosing is never silent: whoever asked is told.

import { openCuda } from "./cuda-cards.ts";
import { type Device, tryDevice } from "./device.ts";

export interface ChosenDevice {
  readonly device: Device;
  /** A sentence for people. */
  readonly why: string;
}

/** How a device is tried, for tests. */
export interface DeviceTrials {
  /** Resolves to what was found: the name of a card. */
  readonly cuda: () => Promise<string>;
  readonly webgpu: () => Promise<undefined>;
}

export const DEVICE_TRIALS: DeviceTrials = {
  cuda: async () => (await openCuda(0)).facts.name,
  webgpu: () => tryDevice("webgpu").then(() => undefined),
};

/**
 * Tries them in this order.
 *
 * @param prove rejects for a device that computes wrongly, which is one more reason to take the next
 */
export async function chooseDevice(
  prove: (device: Device) => Promise<void> = async () => {},
  trials: DeviceTrials = DEVICE_TRIALS,
): Promise<ChosenDevice> {
  const refusals: string[] = [];
  const attempts = [
    ["cuda:0", trials.cuda],
    ["webgpu", trials.webgpu],
  ] as const;
  for (const [device, attempt] of attempts) {
    try {
      const found = await attempt();
      await prove(device);
      return { device, why: because(device, refusals, found) };
    } catch (error) {
      refusals.push(error instanceof Error ? error.message : String(error));
    }
  }
  return { device: "cpu", why: because("cpu", refusals) };
}

function because(device: Device, refusals: readonly string[], found?: string): string {
  const card = found ? `: ${found}` : "";
  const why = refusals.length > 0 ? `, because: ${refusals.join(" ")}` : ".";
  return `The device "auto" is ${device}${card}${why}`;
}
