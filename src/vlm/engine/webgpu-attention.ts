// Does this adapter attend rightly? ONNX Runtime's shader for 32 tokens and more counts keys twice where subgroups are
// narrow, silently. One node, computed there and on the CPU, tells. Out: how many tokens a run may have.

import { OnnxModel } from "../convert/onnx-model.ts";
import { ModelLoadError } from "../errors.ts";
import type { Device } from "../runtime/device.ts";
import { Session } from "../runtime/session.ts";
import { Value } from "../runtime/value.ts";

const HEADS = 4;
const KV_HEADS = 2;
const HEAD_SIZE = 32;
const CAPACITY = 80;
/** The longest run of another shader, and one of this shader whose last group of keys is not full. */
const SHORT = 31;
const LONG = 67;
const TOLERANCE = 1e-3;

let most: Promise<number> | undefined;

/**
 * Most tokens of a run on "webgpu" that are computed rightly; found out once per process.
 *
 * @throws ModelLoadError `device-unavailable` when even short runs are wrong
 */
export function webGpuMostTokens(): Promise<number> {
  most ??= measure().catch((error: unknown) => {
    most = undefined; // a later load tries again
    throw error;
  });
  return most;
}

async function measure(): Promise<number> {
  if (await agrees(LONG)) return Number.POSITIVE_INFINITY;
  if (await agrees(SHORT)) return SHORT;
  throw new ModelLoadError(
    "device-unavailable",
    'The device "webgpu" computes attention wrongly on this adapter. Update the graphics driver, or use device "cpu".',
  );
}

async function agrees(tokens: number): Promise<boolean> {
  const [there, here] = [await attend(tokens, "webgpu"), await attend(tokens, "cpu")];
  return here.every((value, index) => Math.abs(value - there[index]!) < TOLERANCE);
}

/** Attention of tokens over each other, with numbers that are the same each time. */
async function attend(tokens: number, device: Device): Promise<Float32Array> {
  const widths = { q: HEADS * HEAD_SIZE, k: KV_HEADS * HEAD_SIZE, v: KV_HEADS * HEAD_SIZE };
  await using session = await Session.load(attention(widths).serialize("none", "1"), { device });
  const dims = [1, KV_HEADS, CAPACITY, HEAD_SIZE];
  const keys = await session.allocateOnDevice("f32", dims);
  const values = await session.allocateOnDevice("f32", dims);
  const result = new Float32Array(tokens * widths.q);
  const inputs = Object.entries(widths).map(([name, width], which) => {
    const numbers = Float32Array.from({ length: tokens * width }, (_, index) =>
      Math.sin(index * 0.7 + which * 3 + Math.sin(index)),
    );
    return [name, Value.of(numbers, [1, tokens, width])] as const;
  });
  const bound = {
    ...Object.fromEntries(inputs),
    past_k: keys,
    past_v: values,
    last: Value.of(Int32Array.of(tokens - 1), [1]),
    total: Value.of(Int32Array.of(tokens), []),
  };
  const y = Value.of(result, [1, tokens, widths.q]);
  await session.run(bound, { y, present_k: keys, present_v: values });
  for (const value of [...Object.values(bound), y]) value.dispose();
  return result;
}

function attention(widths: { readonly q: number; readonly k: number; readonly v: number }) {
  const model = new OnnxModel("attention");
  for (const [name, width] of Object.entries(widths)) model.input(name, "f32", [1, "s", width]);
  const cache = [1, KV_HEADS, "capacity", HEAD_SIZE];
  for (const part of ["k", "v"]) model.input(`past_${part}`, "f32", cache);
  model.input("last", "i32", [1]);
  model.input("total", "i32", []);
  model.output("y", "f32", [1, "s", widths.q]);
  for (const part of ["k", "v"]) model.output(`present_${part}`, "f32", cache);
  model.nodeWithOutputs({
    name: "attention",
    domain: "com.microsoft",
    op: "GroupQueryAttention",
    inputs: ["q", "k", "v", "past_k", "past_v", "last", "total"],
    outputs: ["y", "present_k", "present_v"],
    attributes: { num_heads: { int: HEADS }, kv_num_heads: { int: KV_HEADS } },
  });
  return model;
}
