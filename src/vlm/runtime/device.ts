// Where a session computes. In: a device name such as "cuda:0". Out: what to tell ONNX Runtime, or an error that says
// what to install. It knows nothing of graphs.

import { ModelLoadError } from "../errors.ts";
import { addresses, type Handle, loadOrt, type Ort } from "./ort.ts";

/** Where a model runs. */
export type Device = "cpu" | "webgpu" | `cuda:${number}`;

/** Names of the execution providers that the installed library was built with; having one does not mean it works. */
export function availableProviders(): string[] {
  const ort = loadOrt();
  const list = addresses(1);
  const count = new Int32Array(new ArrayBuffer(4));
  ort.call("GetAvailableProviders", list, count);
  try {
    const names = new BigUint64Array(ort.memory(list[0]!, 8 * count[0]!));
    return Array.from(names, (name) => ort.text(name));
  } finally {
    ort.call("ReleaseAvailableProviders", list[0]!, count[0]!);
  }
}

/**
 * Lets a session compute on a device; the CPU takes what the device cannot.
 *
 * @throws ModelLoadError `device-unavailable`, with what to install.
 */
export function appendProvider(ort: Ort, sessionOptions: Handle, device: Device): void {
  if (device === "cpu") return;
  const provider = device === "webgpu" ? "WebGpuExecutionProvider" : "CUDAExecutionProvider";
  if (!availableProviders().includes(provider)) throw unavailable(device);
  try {
    if (device === "webgpu") {
      ort.call("SessionOptionsAppendExecutionProvider", sessionOptions, "WebGPU", null, null, 0);
    } else {
      appendCuda(ort, sessionOptions, cudaIndex(device));
    }
  } catch (cause) {
    throw unavailable(device, cause);
  }
}

/** How ONNX Runtime calls the memory of a device. */
export function memoryOf(device: Device): { readonly name: string; readonly index: number } {
  if (device === "cpu") return { name: "Cpu", index: 0 };
  if (device === "webgpu") return { name: "WebGPU_Buffer", index: 0 };
  return { name: "Cuda", index: cudaIndex(device) };
}

/** The error for a device that cannot be used here, saying what to do about it. */
export function unavailable(device: Device, cause?: unknown): ModelLoadError {
  return new ModelLoadError("device-unavailable", `${adviceFor(device)} Or use device "cpu".`, {
    cause,
  });
}

function adviceFor(device: Device): string {
  if (device === "webgpu") {
    return (
      `The device "webgpu" cannot be used: onnxruntime-node has it for Windows, macOS on arm64 and Linux on x64, ` +
      "and it needs a graphics driver with Direct3D 12, Metal or Vulkan."
    );
  }
  if (process.platform !== "linux" || process.arch !== "x64") {
    return `The device "${device}" cannot be used: onnxruntime-node has CUDA for Linux on x64 only.`;
  }
  return (
    `The device "${device}" cannot be used: it needs an NVIDIA driver, the CUDA 12 and cuDNN 9 libraries, and ` +
    "ONNX Runtime's CUDA provider, which `npx napcat-vlm setup-cuda` (in a clone: `npm run setup:cuda`) installs."
  );
}

function cudaIndex(device: `cuda:${number}`): number {
  return Number(device.slice("cuda:".length));
}

function appendCuda(ort: Ort, sessionOptions: Handle, index: number): void {
  const options = ort.create("CreateCUDAProviderOptions");
  try {
    const key = Buffer.from("device_id\0");
    const value = Buffer.from(`${index}\0`);
    const keys = addresses(1);
    const values = addresses(1);
    keys[0] = ort.address(key);
    values[0] = ort.address(value);
    ort.call("UpdateCUDAProviderOptions", options, keys, values, 1);
    ort.call("SessionOptionsAppendExecutionProvider_CUDA_V2", sessionOptions, options);
  } finally {
    ort.release("ReleaseCUDAProviderOptions", options);
  }
}
