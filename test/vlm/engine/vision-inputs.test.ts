import { describe, expect, it } from "vitest";
import { mergeBlockOrder } from "../../../src/vlm/engine/merge-block-order.ts";
import { visionInputs } from "../../../src/vlm/engine/vision-inputs.ts";

describe("mergeBlockOrder", () => {
  it("lists block by block", () => {
    const { rows, columns } = mergeBlockOrder(4, 4, 2);
    expect([...rows].join("")).toBe("0011001122332233");
    expect([...columns].join("")).toBe("0101232301012323");
  });

  it("refuses a grid that the blocks do not tile", () => {
    expect(() => mergeBlockOrder(4, 5, 2)).toThrow(
      "Expected `gridWidth` to be a positive multiple of 2, got `5`",
    );
    expect(() => mergeBlockOrder(0, 4, 2)).toThrow("`gridHeight`");
  });
});

describe("visionInputs", () => {
  const config = { headSize: 64, mergeSize: 2, ropeTheta: 10_000, positionGridSize: 48 };

  it("meets the corners of the position table with the corners of the picture", () => {
    const { patches, positionIndices, positionWeights } = visionInputs(4, 6, config);
    expect(patches).toBe(24);
    const rowsUsed = (patch: number): number[] =>
      [0, 1, 2, 3]
        .filter((corner) => positionWeights[corner * patches + patch]! > 0)
        .map((corner) => Number(positionIndices[corner * patches + patch]));
    expect(rowsUsed(0)).toEqual([0]);
    expect(rowsUsed(9)).toEqual([47]); // row 0, column 5
    expect(rowsUsed(23)).toEqual([47 * 48 + 47]);
  });

  it("interpolates any linear table exactly, up to fp32", () => {
    const [height, width] = [6, 10];
    const { patches, positionIndices, positionWeights } = visionInputs(height, width, config);
    const { rows, columns } = mergeBlockOrder(height, width, 2);
    for (let patch = 0; patch < patches; patch++) {
      let value = 0;
      for (let corner = 0; corner < 4; corner++) {
        const index = Number(positionIndices[corner * patches + patch]);
        value +=
          positionWeights[corner * patches + patch]! *
          (1000 * Math.floor(index / 48) + (index % 48));
      }
      const expected = (1000 * rows[patch]! * 47) / 5 + (columns[patch]! * 47) / 9;
      expect(value).toBeCloseTo(expected, 1);
    }
  });

  it("orders the corners (y0,x0) (y0,x1) (y1,x0) (y1,x1)", () => {
    const { patches, positionIndices } = visionInputs(6, 10, config);
    const corners = [0, 1, 2, 3].map((corner) => Number(positionIndices[corner * patches + 3]));
    // Patch 3 sits at row 1 of 6, column 1 of 10: 9.4 and 5.2 in the table.
    expect(corners).toEqual([9 * 48 + 5, 9 * 48 + 6, 10 * 48 + 5, 10 * 48 + 6]);
  });

  it("stays inside the table for a grid larger than it", () => {
    const { positionIndices, positionWeights } = visionInputs(62, 80, config);
    expect(positionIndices.every((index) => index >= 0n && index < 48n * 48n)).toBe(true);
    expect(positionWeights.every((weight) => weight >= 0 && weight <= 1)).toBe(true);
  });
});
