// How far from the reference a device may be, by precision. In: the errors of a comparison. Out: do they hold?

import type { Precision } from "../../vlm/convert/linear-layers.ts";
import type { DeviceKind } from "../../vlm/runtime/device.ts";
import type { GoldenErrors } from "./golden-check.ts";

export interface GoldenTolerance {
  readonly precision: Precision;
  /** For people. */
  readonly text: string;
  holds(errors: GoldenErrors): boolean;
}

// 32 bits: as the specification has it. 16 bits: 0.004 on a CPU with casts, 0.012 on a card whose eyes compute in bf16.
// Four bits: weights of noise are the worst case for them, 0.64 measured; the tiny chat model shows what they are worth.
export const GOLDEN_TOLERANCES: Readonly<Record<DeviceKind, readonly GoldenTolerance[]>> = {
  cpu: [largest("fp32", 1e-4)],
  webgpu: [largest("fp32", 1e-4)],
  cuda: [relative("fp16", 0.03), relative("q4f16", 0.7)],
};

function largest(precision: Precision, limit: number): GoldenTolerance {
  return {
    precision,
    text: `largest < ${limit}`,
    holds: (errors) => errors.largest < limit && errors.sameTokens === errors.steps,
  };
}

function relative(precision: Precision, limit: number): GoldenTolerance {
  return { precision, text: `relative < ${limit}`, holds: (errors) => errors.relative < limit };
}
