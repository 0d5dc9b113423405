// Copies of keys and values within the memory of WebGPU, whose buffers have no addresses: two small graphs gather rows
// out of tables, and scatter them into others. In: tables, a row of which is one token in one head. Out: tables. It
// knows nothing of who keeps them, and tables may lie in the memory of the CPU as well.

import { OnnxModel } from "../convert/onnx-model.ts";
import type { Device } from "../runtime/device.ts";
import { type NamedValues, Session } from "../runtime/session.ts";
import { elementCount, typedArray, Value } from "../runtime/value.ts";
import type { KvPart } from "./kv-slabs.ts";
import { WebGpuMemory } from "./webgpu-memory.ts";

/** For every part (rows, width), in the order of the parts. */
export type KvTables = readonly Value[];

/** Both graphs, loaded. */
export class WebGpuKvCopies {
  readonly parts: readonly KvPart[];
  readonly #take: Session;
  readonly #move: Session;
  readonly #memory: WebGpuMemory;

  private constructor(
    parts: readonly KvPart[],
    take: Session,
    move: Session,
    memory: WebGpuMemory,
  ) {
    this.parts = parts;
    this.#take = take;
    this.#move = move;
    this.#memory = memory;
  }

  /** @throws ModelLoadError */
  static async load(parts: readonly KvPart[], device: Device = "webgpu"): Promise<WebGpuKvCopies> {
    const take = await Session.load(takeGraph(parts).serialize("none", "1"), { device });
    try {
      const move = await Session.load(moveGraph(parts).serialize("none", "1"), { device });
      const type = parts[0]?.type === "f16" ? "f16" : "f32";
      return new WebGpuKvCopies(parts, take, move, await WebGpuMemory.load(device, type));
    } catch (error) {
      await take.dispose();
      throw error;
    }
  }

  /** Tables in the memory of the device. @throws DeviceError `device-memory` */
  async allocate(rows: number, what: string): Promise<KvTables> {
    const tables: Value[] = [];
    try {
      for (const { type, width } of this.parts) {
        tables.push(await this.#take.allocateOnDevice(type, [rows, width], what));
      }
      // Where the last one has memory, so have those before it.
      await this.#memory.expect(tables.slice(-1), what);
      return tables;
    } catch (error) {
      for (const table of tables) table.dispose();
      throw error;
    }
  }

  /** New tables on the device with these rows of others. @throws DeviceError `device-memory` */
  async take(from: KvTables, rows: Int32Array): Promise<KvTables> {
    const block = await this.allocate(rows.length, "kept keys and values");
    try {
      await this.#gather(from, rows, block);
      return block;
    } catch (error) {
      for (const table of block) table.dispose();
      throw error;
    }
  }

  /** The same tables in the memory of the CPU. */
  async fetch(from: KvTables): Promise<KvTables> {
    const tables = this.parts.map(({ type, width }, part) => {
      const dims = [from[part]!.dims[0]!, width];
      const bytes = new ArrayBuffer(from[part]!.byteLength);
      return Value.of(typedArray(type, bytes, 0, elementCount(dims)), dims);
    });
    try {
      await this.#gather(from, range(from[0]!.dims[0]!), tables);
      return tables;
    } catch (error) {
      for (const table of tables) table.dispose();
      throw error;
    }
  }

  /** Copies rows of tables to places in others, which must not be the same. */
  async move(from: KvTables, rows: Int32Array, into: KvTables, places: Int32Array): Promise<void> {
    const indices = Value.of(rows, [rows.length]);
    const targets = Value.of(BigInt64Array.from(places, BigInt), [places.length, 1]);
    try {
      const inputs = { ...named("from", from), ...named("into", into), indices, places: targets };
      await this.#move.run(inputs, named("out", into));
    } finally {
      indices.dispose();
      targets.dispose();
    }
  }

  async dispose(): Promise<void> {
    await Promise.all([this.#take.dispose(), this.#move.dispose(), this.#memory.dispose()]);
  }

  async #gather(from: KvTables, rows: Int32Array, block: KvTables): Promise<void> {
    const indices = Value.of(rows, [rows.length]);
    try {
      await this.#take.run({ ...named("from", from), indices }, named("block", block));
    } finally {
      indices.dispose();
    }
  }
}

function takeGraph(parts: readonly KvPart[]): OnnxModel {
  const model = new OnnxModel("kv-take");
  model.input("indices", "i32", ["taken"]);
  for (const [index, { type, width }] of parts.entries()) {
    model.input(`from.${index}`, type, ["rows", width]);
    model.output(`block.${index}`, type, ["taken", width]);
    model.node("Gather", `block.${index}`, [`from.${index}`, "indices"]);
  }
  return model;
}

/** Where input and output are one value, nothing but the scattered rows is written. */
function moveGraph(parts: readonly KvPart[]): OnnxModel {
  const model = new OnnxModel("kv-move");
  model.input("indices", "i32", ["moved"]);
  model.input("places", "i64", ["moved", 1]);
  for (const [index, { type, width }] of parts.entries()) {
    model.input(`from.${index}`, type, ["rows", width]);
    model.input(`into.${index}`, type, ["others", width]);
    model.output(`out.${index}`, type, ["others", width]);
    model.node("Gather", `rows.${index}`, [`from.${index}`, "indices"]);
    model.node("ScatterND", `out.${index}`, [`into.${index}`, "places", `rows.${index}`]);
  }
  return model;
}

function named(kind: string, values: readonly Value[]): NamedValues {
  return Object.fromEntries(values.map((value, index) => [`${kind}.${index}`, value]));
}

function range(count: number): Int32Array {
  return Int32Array.from({ length: count }, (_, index) => index);
}
