// More memory than there is, asked for on purpose: a model that does not fit, and a run that cannot. In: a device. Out: the
// error that it gave. Nothing that is asked for here could be had on any machine, so nothing is taken from anybody.

import { OnnxModel } from "../../vlm/convert/onnx-model.ts";
import { WebGpuMemory } from "../../vlm/engine/webgpu-memory.ts";
import { isVlmError } from "../../vlm/errors.ts";
import type { LoadOptions } from "../../vlm/index.ts";
import type { Device, DeviceKind } from "../../vlm/runtime/device.ts";
import { Session } from "../../vlm/runtime/session.ts";
import { Value } from "../../vlm/runtime/value.ts";

/** Rows and columns of a matrix of f32 in 2^50 bytes: more than addresses of 47 bits reach. */
const SIDE = 2 ** 24;
/** Of a buffer of WebGPU: no adapter has one so large. */
const BUFFER_BYTES = 2 ** 40;
const TOO_LITTLE_BYTES = 2 ** 20;
const TOO_LARGE_CACHE_BYTES = 2 ** 50;

/** Options with which no model fits, and the code of the error that says so. */
export function tooLarge(kind: DeviceKind): {
  readonly options: Partial<LoadOptions>;
  readonly code: string;
} {
  return kind === "cpu"
    ? { options: { prefixCacheBytes: TOO_LARGE_CACHE_BYTES }, code: "memory-short" }
    : { options: { deviceMemoryBytes: TOO_LITTLE_BYTES }, code: "device-memory" };
}

/** Rejects with what the device says, by way of the runtime; resolves where it does not say anything. */
export function runOutOfMemory(device: Device): Promise<void> {
  return device === "webgpu" ? takeBuffer() : makeMatrix(device);
}

/** There memory that is missing is no error of a run, so whoever needs some tries it before. */
async function takeBuffer(): Promise<void> {
  const memory = await WebGpuMemory.load();
  try {
    await memory.expectRoom(BUFFER_BYTES, BUFFER_BYTES, "more than there is");
  } finally {
    await memory.dispose();
  }
}

/** A run whose intermediate result no memory holds. */
async function makeMatrix(device: Device): Promise<void> {
  const model = new OnnxModel("too large");
  model.input("shape", "i64", [2]);
  model.output("corner", "f32", [1, 1]);
  const one = model.constant("one", "f32", [1, 1], [1]);
  const first = model.constant("first", "i32", [1], [0]);
  model.node("Expand", "matrix", [one, "shape"]);
  model.node("Gather", "row", ["matrix", first]);
  model.node("Gather", "corner", ["row", first], { axis: { int: 1 } });
  await using session = await Session.load(model.serialize("none", "1"), { device });
  using shape = Value.of(BigInt64Array.of(BigInt(SIDE), BigInt(SIDE)), [2]);
  using corner = Value.of(new Float32Array(1), [1, 1]);
  await session.run({ shape }, { corner });
}

/** The code of an error, or how else it went. */
export function codeOf(failure: unknown, kind: DeviceKind): string {
  if (!(failure instanceof Error)) return "none";
  // ONNX Runtime has no code for memory of the CPU: it says so in words.
  if (kind === "cpu" && /Failed to allocate memory|bad.alloc/iu.test(failure.message)) {
    return "no memory";
  }
  const hasCode = "code" in failure && typeof failure.code === "string";
  return hasCode && isVlmError(failure) ? String(failure.code) : failure.message;
}
