// What a device counts by itself: bytes over its bus, memory in use. In: a device. Out: figures, where there are any: what
// nobody counts is undefined, and not zero.

import { CudaDevice } from "../../vlm/runtime/cuda-device.ts";
import type { OpenDevice } from "../../vlm/runtime/device.ts";

export interface Traffic {
  readonly toDevice: number;
  readonly fromDevice: number;
}

export interface UsedMemory {
  readonly mebibytes: number;
  readonly of: "of the card" | "of the process";
}

/** Since it was opened; undefined for the CPU, which has no bus. */
export function traffic(open: OpenDevice | undefined): Traffic | undefined {
  if (open === undefined) return undefined;
  return { ...(open instanceof CudaDevice ? open.copies.traffic : open.traffic) };
}

/** All that is in use of a card; of the process, where models lie there. WebGPU does not tell. */
export async function memoryInUse(
  open: OpenDevice | undefined,
  processBytes: number,
): Promise<UsedMemory | undefined> {
  const inMiB = (bytes: number) => Math.round(bytes / 2 ** 20);
  if (open === undefined) return { mebibytes: inMiB(processBytes), of: "of the process" };
  if (!(open instanceof CudaDevice)) return undefined;
  const { total, free } = await open.memory();
  return { mebibytes: inMiB(total - free), of: "of the card" };
}
