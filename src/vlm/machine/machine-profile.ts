// What this machine can do for a model, measured in about a second: products by number format and rows, and memory
// bandwidth. Out: a profile that other parts decide by. It decides nothing itself.

import { cpus } from "node:os";
import { preferredInt8Weights, withCpuSettings } from "../engine/cpu-settings.ts";
import { defaultThreads } from "../runtime/cpu-threads.ts";
import { ORT_VERSION } from "../runtime/ort-library.ts";
import { measureProducts, type ProductSpeed } from "./product-speed.ts";

export interface MachineProfile {
  readonly cpu: string;
  /** Threads that were used; 0: as many as ONNX Runtime counts cores. */
  readonly threads: number;
  readonly onnxRuntime: string;
  /** By number format, then by rows. */
  readonly products: readonly ProductSpeed[];
  /** Bytes that can be read from memory, in 10^9 a second. */
  readonly gigaBytes: number;
}

/** Measures now, whatever was measured before. */
export async function measureMachine(
  options: { readonly threads?: number | undefined } = {},
): Promise<MachineProfile> {
  const { threads = defaultThreads() } = options;
  const int8Weights = await preferredInt8Weights();
  const settings = await withCpuSettings({ threads }, int8Weights);
  const products: ProductSpeed[] = [];
  for (const precision of ["w8a8", "q4", "fp32"] as const) {
    products.push(...(await measureProducts(precision, { ...settings, int8Weights })));
  }
  return {
    cpu: cpus()[0]?.model.trim() ?? process.arch,
    threads,
    onnxRuntime: ORT_VERSION,
    products,
    gigaBytes: Math.max(...products.map(({ gigaBytes }) => gigaBytes)),
  };
}
