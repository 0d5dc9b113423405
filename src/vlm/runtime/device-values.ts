// Values in the memory of a device, and their end. In: a device, a type and a shape. Out: a value that a run can be
// given. It knows nothing of graphs.

import { CudaDevice } from "./cuda-device.ts";
import { type Device, memoryOf, type OpenDevice } from "./device.ts";
import type { MemoryBudget } from "./memory-budget.ts";
import { addresses, type Handle, loadOrt, type Ort, offHeap } from "./ort.ts";
import { type ElementType, elementCode, memoryInfo, tensorBytes, Value } from "./value.ts";

/** Memory of a card, and its end. @param budget whose it is @default nobody's */
export async function cudaValue(
  device: CudaDevice,
  type: ElementType,
  dims: readonly number[],
  what: string,
  onFree: () => void,
  budget?: MemoryBudget,
): Promise<Value> {
  const block = await device.allocate(tensorBytes(type, dims), what, budget);
  return Value.onDevice(block.address, memoryOf(`cuda:${device.index}`), type, dims, {
    onFree: () => {
      onFree();
      device.free(block).catch(() => {}); // Fails only on a card that is lost meanwhile, with all its memory.
    },
  });
}

/** Memory of WebGPU: a handle, without an address. */
export async function webGpuValue(
  device: Exclude<OpenDevice, CudaDevice>,
  allocator: Handle,
  type: ElementType,
  dims: readonly number[],
  onFree: () => void,
): Promise<Value> {
  const ort = loadOrt();
  const out = addresses(1);
  const shape = offHeap(BigInt64Array.from(dims, BigInt));
  const code = elementCode(type);
  await device.call([
    ort.describe("CreateTensorAsOrtValue", allocator, shape, shape.length, code, out),
  ]);
  return Value.onDevice({ made: out[0]! }, memoryOf("webgpu"), type, dims, {
    release: (handle) => {
      void device.release([ort.describeRelease("ReleaseValue", handle)]);
    },
    onFree,
  });
}

/** The CPU has one allocator for all; a CUDA session needs none, since its values are allocated by CUDA itself. */
export async function allocatorOf(
  ort: Ort,
  device: Device,
  open: OpenDevice | undefined,
  session: Handle,
): Promise<Handle | undefined> {
  if (!open) return ort.create("GetAllocatorWithDefaultOptions");
  if (open instanceof CudaDevice) return undefined;
  const out = addresses(1);
  await open.call([ort.describe("CreateAllocator", session, memoryInfo(memoryOf(device)), out)]);
  return out[0]!;
}
