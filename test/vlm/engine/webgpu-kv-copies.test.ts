// The graphs that copy keys and values on WebGPU, computed by the CPU: the same operators, whose outputs are their inputs.

import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";
import type { KvPart } from "../../../src/vlm/engine/kv-slabs.ts";
import { WebGpuKvCopies } from "../../../src/vlm/engine/webgpu-kv-copies.ts";
import { WebGpuMemory } from "../../../src/vlm/engine/webgpu-memory.ts";
import { OrtError } from "../../../src/vlm/runtime/ort-error.ts";
import { Session } from "../../../src/vlm/runtime/session.ts";
import { Value } from "../../../src/vlm/runtime/value.ts";

const WIDTH = 4;
const ROWS = 9;
const PARTS: readonly KvPart[] = ["0.key", "0.value", "1.key"].map((name) => ({
  name,
  type: "f32",
  heads: 2,
  width: WIDTH,
}));

/** Tables whose every element says which part, row and element it is. */
function makeTables(sign: 1 | -1) {
  const arrays = PARTS.map((_, part) =>
    Float32Array.from({ length: ROWS * WIDTH }, (_, index) => sign * (1000 * (part + 1) + index)),
  );
  return { arrays, tables: arrays.map((array) => Value.of(array, [ROWS, WIDTH])) };
}

const rowOf = (array: Float32Array, row: number) => array.slice(row * WIDTH, (row + 1) * WIDTH);

describe("copies of keys and values where memory has no addresses", () => {
  let copies: WebGpuKvCopies;
  let memory: WebGpuMemory;

  beforeAll(async () => {
    copies = await WebGpuKvCopies.load(PARTS, "cpu");
    memory = await WebGpuMemory.load("cpu");
  });

  afterAll(async () => {
    await copies.dispose();
    await memory.dispose();
  });

  it("take rows, in any order, to where the device or the CPU has them", async () => {
    const { arrays, tables } = makeTables(1);
    const block = await copies.take(tables, Int32Array.of(7, 0, 3));
    const fetched = await copies.fetch(block);
    for (const [part, array] of arrays.entries()) {
      const expected = [7, 0, 3].flatMap((row) => [...rowOf(array, row)]);
      expect(fetched[part]!.dims).toEqual([3, WIDTH]);
      expect([...block[part]!.read()]).toEqual(expected);
      expect([...fetched[part]!.read()]).toEqual(expected);
    }
    for (const value of [...block, ...fetched, ...tables]) value.dispose();
  });

  it("move rows to places in others, and touch nothing else", async () => {
    const [from, into] = [makeTables(1), makeTables(-1)];
    const expected = into.arrays.map((array) => array.slice());
    await copies.move(from.tables, Int32Array.of(2, 8), into.tables, Int32Array.of(5, 1));
    for (const [part, array] of into.arrays.entries()) {
      expected[part]!.set(rowOf(from.arrays[part]!, 2), 5 * WIDTH);
      expected[part]!.set(rowOf(from.arrays[part]!, 8), 1 * WIDTH);
      expect(array).toEqual(expected[part]);
    }
    for (const value of [...from.tables, ...into.tables]) value.dispose();
  });

  it("know memory that is there, whatever is in it, by a number that is another each time", async () => {
    const values = [1, -1].map((sign) =>
      Value.of(Float32Array.of(sign, 5, Number.NaN, 7), [1, 2, 2, 1]),
    );
    const tables = makeTables(1);
    await memory.expect([...values, ...tables.tables], "keys and values");
    await memory.expectRoom(1000, 100, "weights");
    for (const value of [...values, ...tables.tables]) value.dispose();
  });

  it("know memory that a driver never made from a run that failed otherwise", async () => {
    using value = Value.of(new Float32Array(4), [4]);
    const run = vi.spyOn(Session.prototype, "run");
    // As Dawn says it, of a buffer that is larger than the adapter allows.
    run.mockRejectedValueOnce(
      new OrtError(1, "WebGPU validation failed. [Invalid Buffer (unlabeled)] is invalid"),
    );
    await expect(memory.expect([value], "keys and values")).rejects.toMatchObject({
      code: "device-memory",
    });
    const other = new OrtError(1, "WebGPU validation failed. [Invalid ShaderModule] is invalid");
    run.mockRejectedValueOnce(other);
    await expect(memory.expect([value], "keys and values")).rejects.toBe(other);
    run.mockRestore();
    await memory.expect([value], "keys and values");
  });
});
