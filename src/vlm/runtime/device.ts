// Where a session computes. In: a device name such as "cuda:0". Out: what to tell ONNX Runtime, or an error that says
// what to install. It knows nothing of graphs.

import { isVlmError, ModelLoadError } from "../errors.ts";
import { openCuda } from "./cuda-cards.ts";
import { CudaDevice } from "./cuda-device.ts";
import { findCudaPlugin } from "./cuda-plugin.ts";
import { deviceExit } from "./device-exit.ts";
import { addresses, type Handle, loadOrt, type Ort, offHeap } from "./ort.ts";
import { ProviderPlugins } from "./provider-plugins.ts";
import { openWebGpu, type WebGpuDevice } from "./webgpu-device.ts";

/** Where a model runs. */
export type Device = "cpu" | "webgpu" | `cuda:${number}`;

/** Devices whose graphs are the same. */
export type DeviceKind = "cpu" | "webgpu" | "cuda";

export function deviceKind(device: Device): DeviceKind {
  return device === "cpu" || device === "webgpu" ? device : "cuda";
}

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

/** A device other than the CPU: calls that touch it are made on its own thread. */
export type OpenDevice = CudaDevice | WebGpuDevice;

/**
 * Makes a device ready for sessions; undefined for the CPU.
 *
 * @throws ModelLoadError `device-unavailable`, with what to install.
 */
export async function openDevice(device: Device): Promise<OpenDevice | undefined> {
  if (device === "cpu") return undefined;
  const provider = device === "webgpu" ? "WebGpuExecutionProvider" : "CUDAExecutionProvider";
  if (!availableProviders().includes(provider) && !hasPlugin(device)) throw unavailable(device);
  return device === "webgpu" ? openWebGpu() : await openCuda(cudaIndex(device));
}

/** A core that was built without CUDA computes on cards by way of a plugin. */
function hasPlugin(device: Device): boolean {
  return deviceKind(device) === "cuda" && findCudaPlugin(loadOrt().directory) !== undefined;
}

/**
 * Lets a session compute on a device.
 *
 * @throws ModelLoadError `device-unavailable`, with what to install.
 */
export async function appendProvider(
  ort: Ort,
  sessionOptions: Handle,
  device: Device,
  open: OpenDevice | undefined,
  options: ProviderOptions = {},
): Promise<void> {
  if (open === undefined) return;
  // Providers write to the log of the environment, and fail without one.
  await ort.prepare();
  try {
    if (open instanceof CudaDevice) await appendCuda(ort, sessionOptions, open, options);
    else await appendWebGpu(ort, sessionOptions, open);
  } catch (cause) {
    if (isVlmError(cause)) throw cause;
    throw unavailable(device, cause);
  }
}

/**
 * Asks for a device without loading anything onto it: the list of providers says what the library knows of, this
 * tells whether it works.
 *
 * @throws ModelLoadError `device-unavailable`, with what to install.
 */
export async function tryDevice(device: Device): Promise<void> {
  const ort = loadOrt();
  const open = await openDevice(device);
  const options = ort.create("CreateSessionOptions");
  try {
    await appendProvider(ort, options, device, open);
  } finally {
    ort.release("ReleaseSessionOptions", options);
  }
}

export interface ProviderOptions {
  /** Runs with the run setting `gpu_graph_id` are recorded once and replayed. @default false */
  readonly captureGraphs?: boolean | undefined;
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
      `and it needs a graphics driver with Direct3D 12, Metal or Vulkan.`
    );
  }
  return (
    `The device "${device}" cannot be used: it needs an NVIDIA driver, CUDA's libraries, and ONNX Runtime's CUDA ` +
    "provider, which `npx napcat-vlm setup-cuda` (in a clone: `npm run setup:cuda`) installs."
  );
}

function cudaIndex(device: `cuda:${number}`): number {
  return Number(device.slice("cuda:".length));
}

async function appendCuda(
  ort: Ort,
  sessionOptions: Handle,
  device: CudaDevice,
  { captureGraphs = false }: ProviderOptions,
): Promise<void> {
  const { plugin } = device.facts;
  if (plugin) {
    const append = new ProviderPlugins(ort, device.thread).append(sessionOptions, plugin, {
      use_tf32: "0",
      enable_cuda_graph: captureGraphs ? "1" : "0",
      has_user_compute_stream: "1",
      user_compute_stream: String(device.stream),
    });
    await device.call([append]);
    return;
  }
  deviceExit.keepProvider(ort);
  const options = ort.create("CreateCUDAProviderOptions");
  try {
    // This call loads the provider, and says what is wrong with it; appending only says that something is.
    await device.call([
      ort.describe(
        "UpdateCUDAProviderOptions",
        options,
        ...keysAndValues(ort, {
          device_id: String(device.index),
          // Not twice what is needed.
          arena_extend_strategy: "kSameAsRequested",
          // No operator of ours needs it, and it would choose other kernels where it happens to be installed.
          enable_cudnn: "0",
          use_tf32: "0",
          enable_cuda_graph: captureGraphs ? "1" : "0",
        }),
      ),
      ort.describe(
        "UpdateCUDAProviderOptionsWithValue",
        options,
        "user_compute_stream",
        device.stream,
      ),
      ort.describe("SessionOptionsAppendExecutionProvider_CUDA_V2", sessionOptions, options),
    ]);
  } finally {
    ort.release("ReleaseCUDAProviderOptions", options);
  }
}

async function appendWebGpu(ort: Ort, sessionOptions: Handle, device: WebGpuDevice): Promise<void> {
  // Memory that is not used goes back, rather than into a pool that only grows.
  const lists = keysAndValues(ort, { storageBufferCacheMode: "lazyRelease" });
  await device.call([
    ort.describe("SessionOptionsAppendExecutionProvider", sessionOptions, "WebGPU", ...lists),
  ]);
}

/** Two lists of C strings, and their length. The strings live as long as the lists. */
function keysAndValues(ort: Ort, entries: Readonly<Record<string, string>>) {
  const list = (texts: readonly string[]) => {
    const found = addresses(texts.length);
    const bytes = texts.map((text) => offHeap(Buffer.from(`${text}\0`)));
    for (const [index, text] of bytes.entries()) found[index] = ort.address(text);
    return Object.assign(found, { bytes });
  };
  const keys = list(Object.keys(entries));
  return [keys, list(Object.values(entries)), keys.length] as const;
}
