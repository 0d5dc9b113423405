// What makes a device give the results that it gives: the card, its driver, the library that calls it, this package. In:
// a device. Out: one text that changes when any of them does; where a system does not tell a driver's version, its files
// and its own version stand for it.

import { readdirSync, statSync } from "node:fs";
import { arch, platform, release } from "node:os";
import { delimiter, join } from "node:path";
import { packageVersion } from "../../package-root.ts";
import type { PackagePrecision } from "../convert/package-graphs.ts";
import { CudaDevice } from "../runtime/cuda-device.ts";
import { type Device, openDevice } from "../runtime/device.ts";
import { loadOrt } from "../runtime/ort.ts";

/** @throws ModelLoadError `device-unavailable` */
export async function deviceIdentity(device: Device, precision: PackagePrecision): Promise<string> {
  const open = await openDevice(device);
  const facts =
    open instanceof CudaDevice
      ? { ...open.facts, files: [open.facts.provider, ...open.facts.libraries].map(state) }
      : { drivers: graphicsDrivers() };
  return JSON.stringify({
    package: packageVersion(),
    onnxruntime: [loadOrt().version, loadOrt().directory],
    system: [platform(), arch(), release()],
    device,
    precision,
    ...facts,
  });
}

/** Drivers that Vulkan would choose from on Linux, or where Windows keeps its own; macOS brings them itself. */
function graphicsDrivers(): readonly unknown[] {
  if (process.platform === "win32") {
    const system = process.env.SystemRoot ?? "C:\\Windows";
    return [state(join(system, "System32", "DriverStore", "FileRepository"))];
  }
  const { VK_DRIVER_FILES, VK_ICD_FILENAMES } = process.env;
  const named = VK_DRIVER_FILES ?? VK_ICD_FILENAMES;
  const files =
    named === undefined ? ICD_DIRECTORIES.flatMap(filesOf) : named.split(delimiter).filter(Boolean);
  const cards = filesOf("/sys/class/drm").filter((path) => /card\d+$/u.test(path));
  return [...files.map(state), ...cards];
}

const ICD_DIRECTORIES = ["/usr/share/vulkan/icd.d", "/etc/vulkan/icd.d"];

function filesOf(directory: string): string[] {
  try {
    return readdirSync(directory)
      .toSorted()
      .map((name) => join(directory, name));
  } catch {
    return []; // Not every system has it.
  }
}

function state(path: string): readonly [path: string, size?: number, changedMs?: number] {
  const found = statSync(path, { throwIfNoEntry: false });
  return found ? [path, found.size, found.mtimeMs] : [path];
}
