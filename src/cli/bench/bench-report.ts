// What a benchmark has to say: the machine, the model and the figures. Types only.

import type { ComputePriority } from "../../vlm/runtime/compute-priority.ts";
import type { Figure } from "./figure.ts";

export interface BenchReport {
  readonly version: string;
  readonly onnxRuntime: string;
  readonly node: string;
  readonly cpu: string;
  readonly cpus: number;
  readonly memoryGib: number;
  /** Of the threads that compute. */
  readonly computePriority: ComputePriority;
  /** `mini`, `2b` …, or `own`. */
  readonly model: string;
  readonly precision: { readonly decoder: string; readonly vision: string };
  readonly figures: readonly Figure[];
  readonly missing: readonly { readonly id: string; readonly reason: string }[];
}
