// A device for commands that make something for one, or measure one. In: a name, or "auto". Out: a device; one that was
// chosen is told, and why it is this one.

import { chooseUsualDevice } from "../vlm/machine/device-choice.ts";
import type { Device } from "../vlm/runtime/device.ts";
import { print } from "./terminal.ts";

export async function announcedDevice(named: Device | "auto"): Promise<Device> {
  if (named !== "auto") return named;
  const { device, why } = await chooseUsualDevice();
  print(why);
  return device;
}
