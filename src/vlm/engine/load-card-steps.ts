// Has a decoder kernels of its own for steps? In: a package and where it is to compute. Out: the weights that kernels and
// graph will share, or nothing, where the graph has to have them for itself.

import { CudaDevice } from "../runtime/cuda-device.ts";
import { openDevice } from "../runtime/device.ts";
import { CardSteps, isRefusal, withoutKernels } from "./card-steps.ts";
import type { DeviceDecoderOptions } from "./device-decoder.ts";
import type { OnnxPackage } from "./onnx-package.ts";

/** @throws DeviceError */
export async function loadCardSteps(
  model: OnnxPackage,
  options: DeviceDecoderOptions,
): Promise<CardSteps | undefined> {
  const { device = "cpu", stepKernels = true, mostChats, onNote, signal, budget } = options;
  const card = await openDevice(device);
  if (stepKernels === false || !(card instanceof CudaDevice)) return undefined;
  try {
    const always = stepKernels === "always";
    return await CardSteps.load(card, model, { always, mostChats, signal, budget });
  } catch (error) {
    if (!isRefusal(error)) throw error;
    onNote?.(withoutKernels(error));
    return undefined;
  }
}
