import { describe, expect, it } from "vitest";
import {
  INT4_BLOCK,
  int4Blocks,
  int8RowScales,
  quantizeInt4Rows,
  turnInt8Rows,
  turnRows,
} from "../../../src/vlm/convert/quantize.ts";
import { relativeError } from "../../support/float-error.ts";
import { gaussians } from "../../support/gaussians.ts";

/** (rows, columns) weights back from turned int8 levels (columns, rows). */
function fromInt8(levels: Int8Array, scales: Float32Array, rows: number, columns: number) {
  return Float32Array.from({ length: rows * columns }, (_, i) => {
    const [row, column] = [Math.floor(i / columns), i % columns];
    return (levels[column * rows + row] as number) * (scales[row] as number);
  });
}

function toInt8(weights: Float32Array, rows: number, columns: number) {
  const scales = new Float32Array(rows);
  const bytes = new Uint8Array(rows * columns);
  int8RowScales(weights, rows, columns, scales);
  const place = { firstRow: 0, allRows: rows, firstColumn: 0, endColumn: columns };
  turnInt8Rows(weights, rows, columns, scales, bytes, place, 0);
  return { scales, levels: new Int8Array(bytes.buffer) };
}

/** (rows, columns) weights back from packed 4-bit blocks. */
function fromInt4(packed: Uint8Array, scales: Float32Array, rows: number, columns: number) {
  const blocks = int4Blocks(columns);
  return Float32Array.from({ length: rows * columns }, (_, i) => {
    const [row, column] = [Math.floor(i / columns), i % columns];
    const block = row * blocks + Math.floor(column / INT4_BLOCK);
    const inside = column % INT4_BLOCK;
    const byte = packed[(block * INT4_BLOCK + inside) >> 1] as number;
    const level = inside % 2 === 0 ? byte & 15 : byte >> 4;
    return (level - 8) * (scales[block] as number);
  });
}

function toInt4(weights: Float32Array, rows: number, columns: number) {
  const blocks = rows * int4Blocks(columns);
  const packed = new Uint8Array((blocks * INT4_BLOCK) / 2);
  const scales = new Float32Array(blocks);
  quantizeInt4Rows(weights, rows, columns, packed, scales);
  return { packed, scales };
}

describe("int8 rows", () => {
  it("gives each row its own scale and the extreme level to its extreme value", () => {
    const weights = Float32Array.of(1, -2, 0.5, 100, 50, -25);
    const { scales, levels } = toInt8(weights, 2, 3);
    expect([...scales]).toEqual([Math.fround(2 / 127), Math.fround(100 / 127)]);
    expect([...levels]).toEqual([64, 127, -127, 64, 32, -32]);
  });

  it("keeps each value within half a step", () => {
    const [rows, columns] = [70, 33];
    const weights = gaussians(rows * columns, 3);
    const { scales, levels } = toInt8(weights, rows, columns);
    const back = fromInt8(levels, scales, rows, columns);
    weights.forEach((weight, i) => {
      const step = scales[Math.floor(i / columns)] as number;
      expect(Math.abs(weight - (back[i] as number))).toBeLessThanOrEqual(step * 0.50001);
    });
  });

  it("keeps zeros, and numbers too small for a scale, at zero", () => {
    const { scales, levels } = toInt8(Float32Array.of(0, 0, 1e-45, -1e-45), 2, 2);
    expect(scales[0]).toBe(0);
    expect([...levels].every((level) => Math.abs(level) <= 127)).toBe(true);
    expect([...fromInt8(levels, scales, 2, 2)].every((w) => Math.abs(w) < 1e-37)).toBe(true);
  });
});

describe("turnInt8Rows", () => {
  it("moves unsigned levels up by 128", () => {
    const place = { firstRow: 0, allRows: 1, firstColumn: 0, endColumn: 3 };
    const bytes = new Uint8Array(3);
    turnInt8Rows(Float32Array.of(-2, 0, 1), 1, 3, Float32Array.of(2 / 127), bytes, place, 128);
    expect([...bytes]).toEqual([1, 128, 192]);
  });
});

describe("turnRows", () => {
  it("puts blocks of rows into strips of columns", () => {
    // (3, 4) in two blocks of rows and two strips of columns
    const matrix = Float32Array.of(0, 1, 2, 3, 10, 11, 12, 13, 20, 21, 22, 23);
    const turned: number[] = [];
    for (const firstColumn of [0, 2]) {
      const strip = new Float32Array(2 * 3);
      const place = { allRows: 3, firstColumn, endColumn: firstColumn + 2 };
      turnRows(matrix.subarray(0, 8), 2, 4, strip, { ...place, firstRow: 0 });
      turnRows(matrix.subarray(8), 1, 4, strip, { ...place, firstRow: 2 });
      turned.push(...strip);
    }
    expect(turned).toEqual([0, 10, 20, 1, 11, 21, 2, 12, 22, 3, 13, 23]);
  });
});

describe("4-bit blocks", () => {
  it("keeps sixteen levels exactly", () => {
    const weights = Float32Array.from({ length: 16 }, (_, i) => (i - 8) * 0.25);
    const { packed, scales } = toInt4(weights, 1, 16);
    expect([...fromInt4(packed, scales, 1, 16)]).toEqual([...weights]);
  });

  it("pads the last block with the level of zero", () => {
    const { packed } = toInt4(gaussians(2 * 130, 5), 2, 130);
    expect(packed).toHaveLength(2 * 2 * 64);
    expect([...packed.subarray(64 + 1, 128)].every((byte) => byte === 0x88)).toBe(true);
  });

  it("leaves at most a tenth of bell-shaped weights as error", () => {
    const weights = gaussians(64 * 512, 7);
    const { packed, scales } = toInt4(weights, 64, 512);
    const error = relativeError(fromInt4(packed, scales, 64, 512), weights);
    // Without the search for a better reach it is 0.103.
    expect(error).toBeLessThan(0.1);
  });

  it("never does worse than plain rounding to the extreme value", () => {
    const weights = gaussians(128, 11);
    weights[17] = 9;
    const { packed, scales } = toInt4(weights, 1, 128);
    const plain = weights.map((weight) => Math.max(-7, Math.round(weight / (9 / 8))) * (9 / 8));
    const error = relativeError(fromInt4(packed, scales, 1, 128), weights);
    expect(error).toBeLessThanOrEqual(relativeError(plain, weights));
  });

  it("stores blocks of zeros with a scale of zero", () => {
    const { packed, scales } = toInt4(new Float32Array(256), 1, 256);
    expect([...scales]).toEqual([0, 0]);
    expect(packed.every((byte) => byte === 0x88)).toBe(true);
  });
});

describe("paired rows", () => {
  const pairRows = (weights: Float32Array, rows: number, columns: number) => {
    const scales = new Float32Array(rows);
    const bytes = new Uint8Array(rows * columns);
    const place = { firstRow: 0, allRows: rows, firstColumn: 0, endColumn: columns };
    int8RowScales(weights, rows, columns, scales, true);
    turnInt8Rows(weights, rows, columns, scales, bytes, place, 0, true);
    const levels = new Int8Array(bytes.buffer); // (columns, rows)
    const level = (row: number, column: number) => levels[column * rows + row]!;
    return { scales, level };
  };

  it.each([
    ["noise", (i: number) => gaussians(4 * 257, 21)[i]!],
    ["signs alone", (i: number) => (i % 3 === 0 ? -1 : 1)],
    ["one large value", (i: number) => (i === 5 ? 1000 : Math.sin(i))],
    ["zeros", () => 0],
  ])("never exceed 128 with a neighbour, and stay close to %s", (_, weightAt) => {
    const [rows, columns] = [4, 257];
    const weights = Float32Array.from({ length: rows * columns }, (_unused, i) => weightAt(i));
    const { scales, level } = pairRows(weights, rows, columns);
    for (let row = 0; row < rows; row++) {
      let error = 0;
      let energy = 0;
      let largest = 0;
      for (let column = 0; column < columns; column++) {
        const neighbour = column ^ 1;
        const other = neighbour < columns ? level(row, neighbour) : 0;
        expect(Math.abs(level(row, column)) + Math.abs(other)).toBeLessThanOrEqual(128);
        const value = weights[row * columns + column]!;
        error += (level(row, column) * scales[row]! - value) ** 2;
        energy += value ** 2;
        largest = Math.max(largest, Math.abs(value));
      }
      // No worse than seven bits for each.
      const sevenBits = (columns * (largest / 64) ** 2) / 12;
      expect(error).toBeLessThanOrEqual(1.1 * sevenBits + 1e-12 * energy);
    }
  });

  it("are the same in strips that cut through pairs", () => {
    const [rows, columns] = [3, 9];
    const weights = gaussians(rows * columns, 4);
    const { scales, level } = pairRows(weights, rows, columns);
    for (let firstColumn = 0; firstColumn < columns; firstColumn += 3) {
      const strip = new Uint8Array(3 * rows);
      const place = { firstRow: 0, allRows: rows, firstColumn, endColumn: firstColumn + 3 };
      turnInt8Rows(weights, rows, columns, scales, strip, place, 0, true);
      const expected = Array.from({ length: 3 * rows }, (_unused, i) =>
        level(i % rows, firstColumn + Math.floor(i / rows)),
      );
      expect([...new Int8Array(strip.buffer)]).toEqual(expected);
    }
  });
});
