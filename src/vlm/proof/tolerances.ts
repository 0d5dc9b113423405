// How far from the reference a device may be, by precision. In: the errors of a comparison. Out: do they hold?

import type { Precision } from "../convert/linear-layers.ts";
import { ModelLoadError } from "../errors.ts";
import type { DeviceKind } from "../runtime/device.ts";
import type { GoldenErrors } from "./golden-errors.ts";

export interface GoldenTolerance {
  readonly precision: Precision;
  /** For people. */
  readonly text: string;
  holds(errors: GoldenErrors): boolean;
}

// 32 bits: as the specification has it. 16 bits: 0.004 on a CPU with casts, 0.012 on a card whose eyes compute in bf16 and
// on WebGPU, whose products add up in 16 bits.
// Four bits: weights of noise are the worst case for them, 0.64 measured, so they are held against what the CPU makes
// of the same weights as well; the tiny chat model shows what they are worth. On the CPU itself 0.13 in eight bits (0.09
// in s8, more where weights are paired) and 0.73 in four.
export const GOLDEN_TOLERANCES: Readonly<Record<DeviceKind, readonly GoldenTolerance[]>> = {
  cpu: [largest("fp32", 1e-4), relative("w8a8", 0.18), relative("q4", 0.85)],
  webgpu: [
    largest("fp32", 1e-4),
    quantised("q4", 0.7, 1e-3),
    relative("fp16", 0.03),
    quantised("q4f16", 0.7, 0.03),
    quantised("w8a16", 0.07, 0.03),
  ],
  cuda: [relative("fp16", 0.03), quantised("q4f16", 0.7, 0.1), quantised("w8a16", 0.07, 0.03)],
};

/** @throws ModelLoadError for a precision in which no device of this kind can be proven */
export function toleranceOf(kind: DeviceKind, precision: Precision): GoldenTolerance {
  const known = GOLDEN_TOLERANCES[kind];
  const found = known.find((tolerance) => tolerance.precision === precision);
  if (found) return found;
  throw new ModelLoadError(
    "model-unsupported",
    `There is no proof of ${kind} in ${precision}, only in ${known.map((one) => one.precision).join(" and ")}.`,
  );
}

/** What was found, for people. */
export function describeErrors(errors: GoldenErrors, { text }: GoldenTolerance): string {
  const { largest: most, relative: share, fromCpu, sameTokens, steps } = errors;
  const beside = fromCpu === undefined ? "" : `, from the CPU ${fromCpu.toExponential(2)}`;
  return (
    `largest difference ${most.toExponential(2)}, relative ${share.toExponential(2)}${beside} ` +
    `(${text}), ${sameTokens} of ${steps} likeliest tokens the same`
  );
}

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

function quantised(precision: Precision, limit: number, cpuLimit: number): GoldenTolerance {
  return {
    precision,
    text: `relative < ${limit}, from the CPU < ${cpuLimit}`,
    holds: ({ relative: share, fromCpu = Number.POSITIVE_INFINITY }) =>
      share < limit && fromCpu < cpuLimit,
  };
}
