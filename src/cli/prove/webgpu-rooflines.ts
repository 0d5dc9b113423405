// How fast the memory of a graphics card is by way of WebGPU: a chain of sums over tensors that no cache holds, and one
// number that is fetched at its end, since runs return before they are computed. In: how much. Out: bytes a second.

import { OnnxModel } from "../../vlm/convert/onnx-model.ts";
import { Session } from "../../vlm/runtime/session.ts";
import { Value } from "../../vlm/runtime/value.ts";

/** Elements of f32 of a tensor: 128 MiB, or 8 for a driver that computes on the CPU. */
const ELEMENTS = { card: 2 ** 25, software: 2 ** 21 };
const SUMS = 8;
const ROUNDS = 5;

export async function webGpuMemoryGBs(software: boolean, signal: AbortSignal): Promise<number> {
  const elements = software ? ELEMENTS.software : ELEMENTS.card;
  const model = new OnnxModel("sums");
  let last = model.input("x", "f32", [elements]);
  const step = model.input("step", "f32", [1]);
  for (let sum = 0; sum < SUMS; sum++) {
    model.node("Add", `sum.${sum}`, [last, step]);
    last = `sum.${sum}`;
  }
  model.output("first", "f32", [1]);
  model.node("Gather", "first", [last, model.constant("place", "i32", [1], [0])]);
  await using session = await Session.load(model.serialize("none", "1"), { device: "webgpu" });
  using x = await session.allocateOnDevice("f32", [elements], "a chain of sums");
  using one = Value.of(Float32Array.of(1), [1]);
  const result = new Float32Array(1);
  using first = Value.of(result, [1]);
  let seconds = Number.POSITIVE_INFINITY;
  for (let round = 0; round <= ROUNDS; round++) {
    const start = performance.now();
    await session.run({ x, step: one }, { first }, { signal });
    const took = (performance.now() - start) / 1000;
    if (round > 0) seconds = Math.min(seconds, took); // The first compiles.
  }
  return (2 * SUMS * 4 * elements) / seconds / 1e9;
}
