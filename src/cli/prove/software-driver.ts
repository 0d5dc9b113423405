// Is what calls itself a graphics card a driver that computes on the CPU? In: what a question to the tiny chat model took.
// Out: yes or no. Such a driver is as right as a card, and says nothing of the speed of one.

import { type Device, deviceKind } from "../../vlm/runtime/device.ts";

/** A card takes a hundredth of this. */
const SOFTWARE_MS = 300;

export function isSoftware(device: Device, questionMs: number): boolean {
  return deviceKind(device) === "webgpu" && questionMs > SOFTWARE_MS;
}
