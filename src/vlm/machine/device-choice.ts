// Which device a model takes when nobody names one: as choose-device.ts has it, but for WebGPU that is slower than the CPU,
// as with a driver that computes on the CPU, which many Linux systems bring along. Such a driver is right, and may be
// named; nobody who leaves the choice wants it. No name of a driver counts, only how long the same products take.

import { OnnxModel } from "../convert/onnx-model.ts";
import { ModelLoadError } from "../errors.ts";
import { type ChosenDevice, chooseDevice, DEVICE_TRIALS } from "../runtime/choose-device.ts";
import { type Device, tryDevice } from "../runtime/device.ts";
import { Session } from "../runtime/session.ts";
import { Value } from "../runtime/value.ts";
import { fastestRun } from "./fastest-run.ts";

/** Tokens of a prompt, and columns: so many that starting a run does not count, so few that they take a moment. */
const [ROWS, COLUMNS] = [64, 512];
/** One after the other with the same weight, so that little travels. */
const PRODUCTS = 8;
/** Memory that is shared with the CPU makes small adapters its equals; what computes on it is dozens of times slower. */
const MOST_TIMES = 2;
/** No driver on a CPU is as fast as that, and a card beside many cores may be no faster: starting a run takes longest. */
const FAST_MS = 10;

/** @param prove as `chooseDevice` has it */
export function chooseUsualDevice(
  prove: (device: Device) => Promise<void> = async () => {},
): Promise<ChosenDevice> {
  return chooseDevice(prove, {
    ...DEVICE_TRIALS,
    webgpu: async () => {
      await tryDevice("webgpu");
      await expectWorthIt("webgpu");
      return undefined;
    },
  });
}

/**
 * @param measure for tests
 * @throws ModelLoadError `device-unavailable` for a device that is slower than the CPU
 */
export async function expectWorthIt(
  device: Device,
  measure: (device: Device) => Promise<number> = productsMs,
): Promise<void> {
  const here = await measure("cpu");
  const there = await measure(device);
  if (there < Math.max(here * MOST_TIMES, FAST_MS)) return;
  throw new ModelLoadError(
    "device-unavailable",
    `The device "${device}" is slower than the CPU: ${there.toFixed(0)} ms for products that take ${here.toFixed(0)} ms ` +
      "there; it may be a driver that computes on the CPU. Named, it is used all the same.",
  );
}

/** Milliseconds of a chain of products at its best. */
export async function productsMs(device: Device): Promise<number> {
  const model = new OnnxModel("products");
  let x = model.input("x", "f32", [ROWS, COLUMNS]);
  model.input("weight", "f32", [COLUMNS, COLUMNS]);
  model.output("y", "f32", [ROWS, COLUMNS]);
  for (let index = 1; index <= PRODUCTS; index++) {
    x = model.node("MatMul", index === PRODUCTS ? "y" : `x.${index}`, [x, "weight"]);
  }
  await using session = await Session.load(model.serialize("none", "1"), { device });
  // Means of all columns: numbers stay as large as they are.
  const weight = Value.of(new Float32Array(COLUMNS ** 2).fill(1 / COLUMNS), [COLUMNS, COLUMNS]);
  const input = Value.of(new Float32Array(ROWS * COLUMNS).fill(1), [ROWS, COLUMNS]);
  const y = Value.of(new Float32Array(ROWS * COLUMNS), [ROWS, COLUMNS]);
  try {
    return await fastestRun(() => session.run({ x: input, weight }, { y }));
  } finally {
    for (const value of [weight, input, y]) value.dispose();
  }
}
