// Does this adapter attend rightly? ONNX Runtime's shader for 32 tokens and more counts keys twice where subgroups are
// narrow, silently. One node, computed there and on the CPU, tells. Out: how many tokens a run may have.

import { elementTypeCode, OnnxModel } from "../convert/onnx-model.ts";
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
/** Of numbers up to 1. */
const TOLERANCES = { f32: 1e-3, f16: 3e-3 } as const;

/** Of queries, keys and values. */
export type AttendedType = keyof typeof TOLERANCES;

const most = new Map<AttendedType, Promise<number>>();

/**
 * Most tokens of a run on "webgpu" that are computed rightly; found out once per process and type, since each type has
 * shaders of its own.
 *
 * @throws ModelLoadError `device-unavailable` when even short runs are wrong
 */
export function webGpuMostTokens(type: AttendedType): Promise<number> {
  const known = most.get(type);
  if (known !== undefined) return known;
  const measured = measureMostTokens(type).catch((error: unknown) => {
    most.delete(type); // a later load tries again
    throw error;
  });
  most.set(type, measured);
  return measured;
}

/** @param compute for tests */
export async function measureMostTokens(type: AttendedType, compute = attend): Promise<number> {
  const agrees = async (tokens: number) => {
    const [there, here] = [
      await compute(tokens, type, "webgpu"),
      await attend(tokens, "f32", "cpu"),
    ];
    return here.every((value, index) => Math.abs(value - there[index]!) < TOLERANCES[type]);
  };
  if (await agrees(LONG)) return Number.POSITIVE_INFINITY;
  if (await agrees(SHORT)) return SHORT;
  throw new ModelLoadError(
    "device-unavailable",
    'The device "webgpu" computes attention wrongly on this adapter. Update the graphics driver, or use device "cpu".',
  );
}

/** Attention of tokens over each other, with numbers that are the same each time. */
export async function attend(
  tokens: number,
  type: AttendedType,
  device: Device,
): Promise<Float32Array> {
  const widths = { q: HEADS * HEAD_SIZE, k: KV_HEADS * HEAD_SIZE, v: KV_HEADS * HEAD_SIZE };
  await using session = await Session.load(attention(widths, type).serialize("none", "1"), {
    device,
  });
  const dims = [1, KV_HEADS, CAPACITY, HEAD_SIZE];
  const keys = await session.allocateOnDevice(type, dims);
  const values = await session.allocateOnDevice(type, dims);
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

/** Inputs and outputs are f32 in any case. */
function attention(
  widths: { readonly q: number; readonly k: number; readonly v: number },
  type: AttendedType,
) {
  const model = new OnnxModel("attention");
  const cast = (name: string, from: string, to: AttendedType) =>
    model.node("Cast", name, [from], { to: { int: elementTypeCode(to) } });
  const attended = Object.entries(widths).map(([name, width]) => {
    model.input(name, "f32", [1, "s", width]);
    return cast(`${name}.${type}`, name, type);
  });
  const cache = [1, KV_HEADS, "capacity", HEAD_SIZE];
  for (const part of ["k", "v"]) model.input(`past_${part}`, type, cache);
  model.input("last", "i32", [1]);
  model.input("total", "i32", []);
  model.output("y", "f32", [1, "s", widths.q]);
  for (const part of ["k", "v"]) model.output(`present_${part}`, type, cache);
  model.nodeWithOutputs({
    name: "attention",
    domain: "com.microsoft",
    op: "GroupQueryAttention",
    inputs: [...attended, "past_k", "past_v", "last", "total"],
    outputs: ["mixed", "present_k", "present_v"],
    attributes: { num_heads: { int: HEADS }, kv_num_heads: { int: KV_HEADS } },
  });
  cast("y", "mixed", "f32");
  return model;
}
