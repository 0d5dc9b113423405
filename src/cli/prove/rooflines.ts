// What a device can do at best, measured on it: bytes of its memory and products in a second. In: a device. Out: numbers.

import { untilAborted } from "../../abort.ts";
import { manyRowsSpeed, measureMachine } from "../../vlm/machine/machine-profile.ts";
import { openCuda } from "../../vlm/runtime/cuda-cards.ts";
import { type Device, deviceKind } from "../../vlm/runtime/device.ts";
import { cardRooflines } from "./card-rooflines.ts";
import { webGpuMemoryGBs } from "./webgpu-rooflines.ts";

export interface Rooflines {
  /** Bytes of memory, in 10^9 a second: read and written by a copy; on a CPU weights that are read. */
  readonly memoryGBs: number;
  /** Multiplications and additions, in 10^12 a second: of f16 on a card, of the usual weights on a CPU. */
  readonly matrixTFLOPs: number | undefined;
}

/** @param software a driver that computes on the CPU is given little to do */
export async function rooflinesOf(
  device: Device,
  software: boolean,
  signal: AbortSignal,
): Promise<Rooflines> {
  switch (deviceKind(device)) {
    case "cuda":
      return cardRooflines(await openCuda(Number(device.slice("cuda:".length))), signal);
    case "webgpu":
      return { memoryGBs: await webGpuMemoryGBs(software, signal), matrixTFLOPs: undefined };
    case "cpu": {
      const profile = await untilAborted(measureMachine(), signal);
      const products = manyRowsSpeed(profile, "w8a8");
      return { memoryGBs: profile.gigaBytes, matrixTFLOPs: products / 1000 };
    }
  }
}

export function describeRooflines({ memoryGBs, matrixTFLOPs }: Rooflines): string {
  const products =
    matrixTFLOPs === undefined ? "" : `, products ${matrixTFLOPs.toFixed(2)} TFLOP/s`;
  return `at best: memory ${memoryGBs.toFixed(1)} GB/s${products}`;
}
