// Has this adapter 16-bit floats? ONNX Runtime takes f16 nodes on any adapter, and a run fails where the driver has no
// `shader-f16`. A small product whose result is known tells. Out: nothing, or why it cannot be computed.

import { elementTypeCode, OnnxModel } from "../convert/onnx-model.ts";
import { type PackagePrecision, usesHalfFloats } from "../convert/package-graphs.ts";
import { ModelLoadError } from "../errors.ts";
import type { Device } from "../runtime/device.ts";
import { OrtError } from "../runtime/ort-error.ts";
import { Session } from "../runtime/session.ts";
import { Value } from "../runtime/value.ts";

const ROWS = 4;
const INNER = 8;
const COLUMNS = 4;

/** Words of ONNX Runtime and of Dawn: "Program Cast requires f16 but the device does not support it." */
const LACKING = /requires f16|shader-?f16/iu;

let trouble: Promise<string | undefined> | undefined;

/** Why "webgpu" cannot compute in 16 bits here, undefined where it can; found out once per process. @throws DeviceError */
export function webGpuHalfFloatTrouble(): Promise<string | undefined> {
  trouble ??= halfFloatTrouble("webgpu").catch((error: unknown) => {
    trouble = undefined; // a later load tries again
    throw error;
  });
  return trouble;
}

/** Why a device has not a precision at all, however right it may be otherwise. @param find for tests */
export async function missingFormat(
  device: Device,
  precision: PackagePrecision,
  find = webGpuHalfFloatTrouble,
): Promise<string | undefined> {
  return device === "webgpu" && usesHalfFloats(precision) ? await find() : undefined;
}

/** @throws ModelLoadError `device-unavailable` for a precision that the device has not, with those that it has */
export async function expectFormats(
  device: Device,
  precision: PackagePrecision,
  find = webGpuHalfFloatTrouble,
): Promise<void> {
  const why = await missingFormat(device, precision, find);
  if (why === undefined) return;
  throw new ModelLoadError(
    "device-unavailable",
    `The device "${device}" cannot compute in ${precision.decoder} here: ${why}. ` +
      'Use precision "q4" or "fp32", or device "cpu".',
  );
}

/** Products of small whole numbers, which 16 bits hold exactly. */
export async function halfFloatTrouble(device: Device): Promise<string | undefined> {
  const [x, weight] = [wholes(ROWS * INNER, 5), wholes(INNER * COLUMNS, 7)];
  const result = new Float32Array(ROWS * COLUMNS);
  await using session = await Session.load(product().serialize("none", "1"), { device });
  const values = {
    x: Value.of(x, [ROWS, INNER]),
    weight: Value.of(weight, [INNER, COLUMNS]),
    y: Value.of(result, [ROWS, COLUMNS]),
  };
  try {
    await session.run({ x: values.x, weight: values.weight }, { y: values.y });
  } catch (error) {
    if (!(error instanceof OrtError)) throw error;
    return LACKING.test(error.message)
      ? "its graphics adapter or driver has no 16-bit floats (shader-f16)"
      : `it fails with 16-bit floats: ${firstLine(error.message)}`;
  } finally {
    for (const value of Object.values(values)) value.dispose();
  }
  const right = result.every((value, index) => {
    const [row, column] = [Math.floor(index / COLUMNS), index % COLUMNS];
    const terms = Array.from(
      { length: INNER },
      (_, k) => x[row * INNER + k]! * weight[k * COLUMNS + column]!,
    );
    return value === terms.reduce((sum, term) => sum + term, 0);
  });
  return right ? undefined : "its graphics adapter or driver computes wrongly with 16-bit floats";
}

function wholes(count: number, modulus: number): Float32Array {
  return Float32Array.from({ length: count }, (_, index) => (index % modulus) - 2);
}

function product(): OnnxModel {
  const model = new OnnxModel("half-floats");
  model.input("x", "f32", [ROWS, INNER]);
  model.input("weight", "f32", [INNER, COLUMNS]);
  model.output("y", "f32", [ROWS, COLUMNS]);
  const cast = (name: string, from: string, type: "f16" | "f32") =>
    model.node("Cast", name, [from], { to: { int: elementTypeCode(type) } });
  const narrow = [cast("x.f16", "x", "f16"), cast("weight.f16", "weight", "f16")];
  cast("y", model.node("MatMul", "y.f16", narrow), "f32");
  return model;
}

function firstLine(text: string): string {
  return text.split("\n", 1)[0]!.trim();
}
