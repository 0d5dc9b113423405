// The graphs that copy keys and values on WebGPU, computed by the CPU: the same operators, whose outputs are their inputs.

import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { KvPart } from "../../../src/vlm/engine/kv-slots.ts";
import { WebGpuKvCopies } from "../../../src/vlm/engine/webgpu-kv-copies.ts";
import { WebGpuMemory } from "../../../src/vlm/engine/webgpu-memory.ts";
import { Value } from "../../../src/vlm/runtime/value.ts";

const HEADS = 2;
const WIDTH = 4;
const CAPACITY = 9;
const PARTS: readonly KvPart[] = ["0.key", "0.value", "1.key"].map((name) => ({
  name,
  type: "f32",
  heads: HEADS,
  width: WIDTH,
}));

/** A row whose every element says which part, head, token and element it is. */
function makeRow(sign: 1 | -1 | 0) {
  const arrays = PARTS.map((_, part) =>
    Float32Array.from(
      { length: HEADS * CAPACITY * WIDTH },
      (_, index) => sign * (1000 * (part + 1) + index),
    ),
  );
  const values = arrays.map((array) => Value.of(array, [1, HEADS, CAPACITY, WIDTH]));
  return { arrays, values };
}

const at = (head: number, token: number) => (head * CAPACITY + token) * WIDTH;

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

  it.each([
    [4, 0],
    [4, 5],
    [2, 7],
  ])("put the first %d tokens to token %d, and touch nothing else", async (tokens, to) => {
    const [from, into] = [makeRow(1), makeRow(-1)];
    const before = into.arrays.map((array) => array.slice());
    const block = await copies.read(from.values, 3, 4);
    expect(block.map(({ dims }) => dims)).toEqual(PARTS.map(() => [1, HEADS, 4, WIDTH]));
    await copies.write(into.values, to, block, tokens);
    for (const [part, array] of into.arrays.entries()) {
      const expected = before[part]!;
      for (let head = 0; head < HEADS; head++) {
        for (let token = 0; token < tokens; token++) {
          const source = at(head, 3 + token);
          const copied = from.arrays[part]!.subarray(source, source + WIDTH);
          expected.set(copied, at(head, to + token));
        }
      }
      expect(array).toEqual(expected);
    }
    for (const value of [...block, ...from.values, ...into.values]) value.dispose();
  });

  it("know memory that is there, whatever is in it, by a number that is another each time", async () => {
    const row = makeRow(1);
    await memory.expect(row.values, "keys and values");
    await memory.expectRoom(1000, 100, "weights");
    for (const value of row.values) value.dispose();
  });
});
