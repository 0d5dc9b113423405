// Copies of keys and values within the memory of WebGPU, whose buffers have no addresses: two small graphs gather tokens
// out of a row and scatter them into one. In: rows of a decoder's parts. Out: blocks that stay on the device. It knows
// nothing of who keeps them.

import { OnnxModel } from "../convert/onnx-model.ts";
import type { Device } from "../runtime/device.ts";
import { type NamedValues, Session } from "../runtime/session.ts";
import { Value } from "../runtime/value.ts";
import type { KvPart } from "./kv-slots.ts";
import { WebGpuMemory } from "./webgpu-memory.ts";

/** For every part (1, heads, tokens, width), in the order of the parts. */
export type DeviceBlock = readonly Value[];

/** Both graphs, loaded. */
export class WebGpuKvCopies {
  readonly #parts: readonly KvPart[];
  readonly #out: Session;
  readonly #in: Session;
  readonly #memory: WebGpuMemory;

  private constructor(parts: readonly KvPart[], out: Session, into: Session, memory: WebGpuMemory) {
    this.#parts = parts;
    this.#out = out;
    this.#in = into;
    this.#memory = memory;
  }

  /** @throws ModelLoadError */
  static async load(parts: readonly KvPart[], device: Device = "webgpu"): Promise<WebGpuKvCopies> {
    const out = await Session.load(gather(parts).serialize("none", "1"), { device });
    try {
      const into = await Session.load(scatter(parts).serialize("none", "1"), { device });
      return new WebGpuKvCopies(parts, out, into, await WebGpuMemory.load(device));
    } catch (error) {
      await out.dispose();
      throw error;
    }
  }

  /** Copies tokens of a row out. @param row values in the order of the parts @throws DeviceError `device-memory` */
  async read(row: readonly Value[], start: number, tokens: number): Promise<DeviceBlock> {
    const block: Value[] = [];
    const indices = Value.of(range(start, tokens), [tokens]);
    try {
      for (const { type, heads, width } of this.#parts) {
        const dims = [1, heads, tokens, width];
        block.push(await this.#out.allocateOnDevice(type, dims, "kept keys and values"));
      }
      // Where the last one has memory, so have those before it.
      await this.#memory.expect(block.slice(-1), "kept keys and values");
      await this.#out.run({ ...named("past", row), indices }, named("block", block));
      return block;
    } catch (error) {
      for (const value of block) value.dispose();
      throw error;
    } finally {
      indices.dispose();
    }
  }

  /** Copies the first tokens of a block into a row, where token `start` comes next. */
  async write(
    row: readonly Value[],
    start: number,
    block: DeviceBlock,
    tokens: number,
  ): Promise<void> {
    const heads = this.#parts[0]!.heads;
    const indices = Value.of(range(0, tokens), [tokens]);
    const places = Value.of(placesOf(heads, start, tokens), [1, heads, tokens, 3]);
    try {
      const inputs = { ...named("past", row), ...named("block", block), indices, places };
      await this.#in.run(inputs, named("present", row));
    } finally {
      indices.dispose();
      places.dispose();
    }
  }

  async dispose(): Promise<void> {
    await Promise.all([this.#out.dispose(), this.#in.dispose(), this.#memory.dispose()]);
  }
}

function gather(parts: readonly KvPart[]): OnnxModel {
  const model = new OnnxModel("kv-out");
  model.input("indices", "i32", ["tokens"]);
  for (const [index, { type, heads, width }] of parts.entries()) {
    model.input(`past.${index}`, type, [1, heads, "capacity", width]);
    model.output(`block.${index}`, type, [1, heads, "tokens", width]);
    model.node("Gather", `block.${index}`, [`past.${index}`, "indices"], { axis: { int: 2 } });
  }
  return model;
}

/** Where input and output are one value, nothing but the scattered tokens is written. */
function scatter(parts: readonly KvPart[]): OnnxModel {
  const model = new OnnxModel("kv-in");
  model.input("indices", "i32", ["tokens"]);
  model.input("places", "i64", [1, "heads", "tokens", 3]);
  for (const [index, { type, heads, width }] of parts.entries()) {
    if (heads !== parts[0]!.heads) throw new TypeError("Expected as many heads in every layer");
    model.input(`past.${index}`, type, [1, heads, "capacity", width]);
    model.input(`block.${index}`, type, [1, heads, "kept", width]);
    model.output(`present.${index}`, type, [1, heads, "capacity", width]);
    model.node("Gather", `first.${index}`, [`block.${index}`, "indices"], { axis: { int: 2 } });
    const inputs = [`past.${index}`, "places", `first.${index}`];
    model.node("ScatterND", `present.${index}`, inputs);
  }
  return model;
}

function named(kind: string, values: readonly Value[]): NamedValues {
  return Object.fromEntries(values.map((value, index) => [`${kind}.${index}`, value]));
}

function range(start: number, count: number): Int32Array {
  return Int32Array.from({ length: count }, (_, index) => start + index);
}

/** (row, head, token) of everything that is scattered. */
function placesOf(heads: number, start: number, tokens: number): BigInt64Array {
  const places = new BigInt64Array(heads * tokens * 3);
  for (let head = 0; head < heads; head++) {
    for (let token = 0; token < tokens; token++) {
      const first = 3 * (head * tokens + token);
      places[first + 1] = BigInt(head);
      places[first + 2] = BigInt(start + token);
    }
  }
  return places;
}
