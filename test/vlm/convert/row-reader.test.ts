import { expect, it } from "vitest";
import type { Checkpoint } from "../../../src/vlm/checkpoint/open-checkpoint.ts";
import { RowReader } from "../../../src/vlm/convert/row-reader.ts";

const KIB = 1024;
const COLUMNS = 256;

/** Two matrices whose weights say where they are. */
function checkpoint(rows: number): Checkpoint {
  const weight = (start: number) => ({
    dtype: "F32",
    shape: [rows, COLUMNS],
    async readRows(first: number, count: number, target: Float32Array) {
      for (let i = 0; i < count * COLUMNS; i++) target[i] = start + first * COLUMNS + i;
    },
  });
  const tensors = new Map([
    ["one", weight(0)],
    ["other", weight(rows * COLUMNS)],
  ]);
  return { dir: "nowhere", tensors } as unknown as Checkpoint;
}

it("reads every row once, in small pieces first and in larger ones then", async () => {
  const rows = 3000;
  const sizes: number[] = [];
  let next = 0;
  for await (const block of new RowReader(checkpoint(rows)).blocks(["one", "other"])) {
    expect(block.firstRow * COLUMNS).toBe(next);
    expect(block.weights.length).toBe(block.rows * COLUMNS);
    expect(block.weights[0]).toBe(next);
    expect(block.weights.at(-1)).toBe(next + block.weights.length - 1);
    next += block.weights.length;
    sizes.push(block.weights.byteLength);
  }
  expect(next).toBe(2 * rows * COLUMNS);
  expect(sizes.slice(0, 5)).toEqual([32, 64, 128, 256, 512].map((kib) => kib * KIB));
  expect(Math.max(...sizes)).toBe(512 * KIB);
});
