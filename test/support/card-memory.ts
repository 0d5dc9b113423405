// Memory of a card that is played, as a session of ONNX Runtime would have it.

import type { CudaDevice } from "../../src/vlm/runtime/cuda-device.ts";
import { DeviceMemory } from "../../src/vlm/runtime/device-memory.ts";
import { cudaValue } from "../../src/vlm/runtime/device-values.ts";

export function memoryOn(card: CudaDevice): DeviceMemory {
  return new DeviceMemory({
    open: card,
    device: `cuda:${card.index}`,
    allocateOnDevice: (type, dims, what = "a tensor") =>
      cudaValue(card, type, dims, what, () => {}),
  });
}
