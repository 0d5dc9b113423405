import { describe, expect, it } from "vitest";
import { type Matrix, productError } from "../../../src/vlm/convert/layer-errors.ts";
import { turnInt8Rows } from "../../../src/vlm/convert/quantize.ts";
import { TimeSlice } from "../../../src/vlm/event-loop/time-slice.ts";
import { gaussians } from "../../support/gaussians.ts";

const COLUMNS = 256;

function matrix(rows: number, seed: number, change = (value: number, _column: number) => value) {
  const values = gaussians(rows * COLUMNS, seed).map((value, i) => change(value, i % COLUMNS));
  return { values, rows, columns: COLUMNS };
}

/** The products themselves, with both sides in int8, against the exact ones. */
function measuredError(input: Matrix, weight: Matrix): number {
  const rounded = (m: Matrix) =>
    m.values.map((_, i) => {
      const start = Math.floor(i / COLUMNS) * COLUMNS;
      const row = m.values.subarray(start, start + COLUMNS);
      const scale = Math.max(...row.map(Math.abs)) / 127;
      const level = new Uint8Array(COLUMNS);
      const place = { firstRow: 0, allRows: 1, firstColumn: 0, endColumn: COLUMNS };
      turnInt8Rows(row, 1, COLUMNS, Float32Array.of(scale), level, place, 128);
      return ((level[i - start] as number) - 128) * scale;
    });
  const [x, w] = [rounded(input), rounded(weight)];
  let error = 0;
  let signal = 0;
  for (let t = 0; t < input.rows; t++) {
    for (let n = 0; n < weight.rows; n++) {
      let exact = 0;
      let quantized = 0;
      for (let k = 0; k < COLUMNS; k++) {
        const [a, b] = [t * COLUMNS + k, n * COLUMNS + k];
        exact += (input.values[a] as number) * (weight.values[b] as number);
        quantized += (x[a] as number) * (w[b] as number);
      }
      error += (quantized - exact) ** 2;
      signal += exact ** 2;
    }
  }
  return Math.sqrt(error / signal);
}

describe("productError", () => {
  it.each([
    ["ordinary values", 1],
    ["one channel eight times as large", 8],
    ["one channel forty times as large", 40],
  ])("foretells what int8 products lose, with %s", async (_, times) => {
    const input = matrix(24, 1, (value, column) => (column === 9 ? value * times : value));
    // Read with a weight so small that it matters no more than the others.
    const weight = matrix(24, 2, (value, column) => (column === 9 ? value / times : value));
    const foretold = await productError(input, weight, "w8a8");
    const measured = measuredError(input, weight);
    expect(foretold / measured).toBeGreaterThan(0.8);
    expect(foretold / measured).toBeLessThan(1.25);
  });

  it("is undone by factors", async () => {
    const input = matrix(24, 1, (value, column) => (column === 9 ? value * 256 : value));
    const weight = matrix(24, 2, (value, column) => (column === 9 ? value / 256 : value));
    const factors = new Float64Array(COLUMNS).fill(1);
    factors[9] = 256;
    const plain = await productError(matrix(24, 1), matrix(24, 2), "w8a8");
    expect(await productError(input, weight, "w8a8")).toBeGreaterThan(0.2);
    expect(await productError(input, weight, "w8a8", factors)).toBeCloseTo(plain, 6);
  });

  it("measures each output channel by itself", async () => {
    const input = matrix(24, 1);
    const weight = matrix(24, 2);
    const large = { ...weight, values: weight.values.map((w, i) => (i < COLUMNS ? w * 4096 : w)) };
    for (const precision of ["w8a8", "q4"] as const) {
      const error = await productError(input, weight, precision);
      expect(await productError(input, large, precision)).toBeCloseTo(error, 6);
    }
  });

  it("is nothing in fp32, a tenth in 4 bits, and nothing for zeros", async () => {
    expect(await productError(matrix(8, 1), matrix(8, 2), "fp32")).toBe(0);
    const q4 = await productError(matrix(8, 1), matrix(8, 2), "q4");
    expect(q4).toBeGreaterThan(0.07);
    expect(q4).toBeLessThan(0.13);
    const zeros = { values: new Float32Array(8 * COLUMNS), rows: 8, columns: COLUMNS };
    expect(await productError(matrix(8, 1), zeros, "w8a8")).toBe(0);
    expect(await productError(zeros, matrix(8, 2), "q4")).toBe(0);
  });

  it("rests between rows when its time is used up", async () => {
    class UsedUp extends TimeSlice {
      rests = 0;
      override get over(): boolean {
        return true;
      }
      override async rest(): Promise<void> {
        this.rests++;
      }
    }
    const slice = new UsedUp();
    const ones = new Float64Array(COLUMNS).fill(1);
    const error = await productError(matrix(8, 1), matrix(8, 2), "w8a8", ones, slice);
    expect(error).toBe(await productError(matrix(8, 1), matrix(8, 2), "w8a8"));
    expect(slice.rests).toBeGreaterThanOrEqual(8);
  });
});
