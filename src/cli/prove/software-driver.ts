// Drivers that compute on the CPU in the place of a graphics card: as right as one, and saying nothing of its speed. In: what
// a question to the tiny chat model took. Out: is it one? And where to get one, for whoever has no card.

import { type Device, deviceKind } from "../../vlm/runtime/device.ts";

/** A card takes a hundredth of this. */
const SOFTWARE_MS = 300;

export function isSoftware(device: Device, questionMs: number): boolean {
  return deviceKind(device) === "webgpu" && questionMs > SOFTWARE_MS;
}

/** Mesa's is accepted in release 25, and refused in 22. */
export function whereSoftwareIs(platform: string = process.platform): string {
  if (platform !== "linux") return "";
  return (
    " Without a card, a software driver can be proven: on Debian the packages libvulkan1 and mesa-vulkan-drivers (25 or " +
    "newer), or chromium-common with VK_ICD_FILENAMES=/usr/lib/chromium/vk_swiftshader_icd.json."
  );
}
