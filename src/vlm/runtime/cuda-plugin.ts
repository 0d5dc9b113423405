// ONNX Runtime's CUDA provider in the form of a plugin: where it lies, and the device of a card in it. It is preferred
// where it is there, since it is loaded by a stable interface; where it cannot be used, whoever asks is told why, and
// takes the other form. In: directories, a number. Out: a file; a device.

import { existsSync } from "node:fs";
import { join } from "node:path";
import { pythonPackages } from "./cuda-libraries.ts";
import type { PluginDevice, ProviderPlugins } from "./provider-plugins.ts";

/** As ONNX Runtime's build calls it where both forms lie side by side. */
export const CUDA_PLUGIN_FILE =
  process.platform === "win32"
    ? "onnxruntime_providers_cuda_plugin.dll"
    : "libonnxruntime_providers_cuda_plugin.so";
/** The wheels `onnxruntime-ep-cuda13` and `onnxruntime-ep-cuda12`, in which it may have the name of the other form. */
const WHEELS = ["onnxruntime_ep_cuda13", "onnxruntime_ep_cuda12", "onnxruntime_ep_cuda"];
const NAMES = [
  CUDA_PLUGIN_FILE,
  process.platform === "win32"
    ? "onnxruntime_providers_cuda.dll"
    : "libonnxruntime_providers_cuda.so",
];
/** What it calls itself, now and in its first versions. */
const PROVIDERS: readonly string[] = ["CUDAExecutionProvider", "CudaPluginExecutionProvider"];
/** Under which it says which card a device is: the system's order need not be that of CUDA. */
const NUMBER_KEY = "cuda_device_id";
/** What this process calls it. */
const REGISTRATION = "CUDAExecutionProvider";

/** The plugin's library: beside the core, or in a wheel; undefined where there is none. */
export function findCudaPlugin(
  beside: string,
  packages: readonly string[] = pythonPackages(),
): string | undefined {
  const inWheels = packages.flatMap((directory) =>
    WHEELS.flatMap((wheel) => NAMES.map((name) => join(directory, wheel, name))),
  );
  return [join(beside, CUDA_PLUGIN_FILE), ...inWheels].find((file) => existsSync(file));
}

/**
 * Registers the plugin, and finds the card of this number in it.
 *
 * @throws Error that says why it cannot be used
 */
export async function openCudaPlugin(
  index: number,
  file: string,
  plugins: Pick<ProviderPlugins, "register" | "devices">,
): Promise<PluginDevice> {
  await plugins.register(REGISTRATION, file);
  const devices = await plugins.devices(NUMBER_KEY);
  const cards = devices.filter(({ provider }) => PROVIDERS.includes(provider));
  const numbered = cards.some(({ number }) => number !== undefined);
  const card = numbered ? cards.find(({ number }) => number === index) : cards[index];
  if (card) return card;
  // It finds cards by way of the system, which some containers do not show; and in its first versions it takes two cards
  // of one model for the same.
  const seen = cards.length === 0 ? "no card" : `${cards.length} cards`;
  const which = cards.length > index ? `, none of which is number ${index}` : "";
  throw new Error(`The plugin ${file} sees ${seen} on this machine${which}.`);
}
