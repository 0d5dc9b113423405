// Numbers on their way into and out of graphs that want them in f32 or in f16. On this side they are f32 always.

import { fromFloat32, toFloat32 } from "../checkpoint/dtype.ts";
import { elementCount, Value } from "../runtime/value.ts";

export type FloatType = "f32" | "f16";

/** An input: the array itself, or a copy in 16 bits. Dispose it after the run. */
export function floatInput(type: FloatType, data: Float32Array, dims: readonly number[]): Value {
  if (type === "f32") return Value.of(data, dims);
  const halves = new Uint16Array(data.length);
  fromFloat32(data, "f16", halves);
  return Value.of(halves, dims);
}

/** An output, used again by runs of any size: it grows when one is larger than all before. */
export class FloatOutput {
  readonly #type: FloatType;
  #memory: Float32Array | Uint16Array;

  constructor(type: FloatType) {
    this.#type = type;
    this.#memory = type === "f32" ? new Float32Array(0) : new Uint16Array(0);
  }

  /** What to bind. Dispose it after the run. */
  value(dims: readonly number[]): Value {
    const length = elementCount(dims);
    if (this.#memory.length < length) {
      this.#memory = this.#type === "f32" ? new Float32Array(length) : new Uint16Array(length);
    }
    return Value.of(this.#memory.subarray(0, length), dims);
  }

  /** Some of the last run's numbers. In f32 they are the memory of the next run as well. */
  read(first: number, count: number): Float32Array {
    const part = this.#memory.subarray(first, first + count);
    if (part instanceof Float32Array) return part;
    const wide = new Float32Array(count);
    toFloat32(new Uint8Array(part.buffer, part.byteOffset, part.byteLength), "f16", wide, count);
    return wide;
  }
}
