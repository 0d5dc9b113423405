import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { beforeAll, describe, expect, it } from "vitest";
import { EmbeddingTable } from "../../../src/vlm/engine/embedding-table.ts";
import { DisposedError } from "../../../src/vlm/errors.ts";
import { tempDir } from "../../support/temp-dir.ts";

const ROWS = 50;
const COLUMNS = 6;
let directory: string;

beforeAll(async () => {
  directory = await tempDir();
});

/** Row r, column c holds r + c / 8: exact in all three formats. */
const value = (row: number, column: number) => row + column / 8;

async function writeTable(dtype: "bf16" | "f16" | "f32"): Promise<string> {
  const bytes = Buffer.alloc(ROWS * COLUMNS * (dtype === "f32" ? 4 : 2));
  for (let index = 0; index < ROWS * COLUMNS; index++) {
    const number = value(Math.floor(index / COLUMNS), index % COLUMNS);
    if (dtype === "f32") bytes.writeFloatLE(number, 4 * index);
    else bytes.writeUInt16LE(dtype === "bf16" ? toBf16(number) : toF16(number), 2 * index);
  }
  const path = join(directory, `${dtype}.bin`);
  await writeFile(path, bytes);
  return path;
}

function toBf16(number: number): number {
  return new Uint32Array(Float32Array.of(number).buffer)[0]! >>> 16;
}

function toF16(number: number): number {
  if (number === 0) return 0;
  const exponent = Math.floor(Math.log2(number));
  return ((exponent + 15) << 10) | ((number / 2 ** exponent - 1) * 1024);
}

const openTable = async (dtype: "bf16" | "f16" | "f32") =>
  EmbeddingTable.open(await writeTable(dtype), { dtype, rows: ROWS, columns: COLUMNS });

describe("EmbeddingTable", () => {
  it.each(["bf16", "f16", "f32"] as const)(
    "reads rows of %s in the order of the ids",
    async (dtype) => {
      const table = await openTable(dtype);
      // Ids below 16 only: with three bits behind the point, that is all the eight bits of bf16 hold.
      const ids = Int32Array.of(7, 0, 15, 7, 7, 3, 15, 1, 2, 4, 5, 6, 8, 9, 10);
      const rows = new Float32Array(ids.length * COLUMNS); // (15, 6)
      await table.read(ids, rows);
      const expected = [...ids].flatMap((id) =>
        Array.from({ length: COLUMNS }, (_, column) => value(id, column)),
      );
      expect([...rows]).toEqual(expected);
      await table.close();
    },
  );

  it("serves many readers at once", async () => {
    const table = await openTable("f32");
    const reads = Array.from({ length: 30 }, async (_, id) => {
      const row = new Float32Array(COLUMNS);
      await table.read(Int32Array.of(id), row);
      return row[1];
    });
    expect(await Promise.all(reads)).toEqual(Array.from({ length: 30 }, (_, id) => value(id, 1)));
    await table.close();
  });

  it("refuses ids that are not in the table", async () => {
    const table = await openTable("f32");
    const row = new Float32Array(COLUMNS);
    await expect(table.read(Int32Array.of(ROWS), row)).rejects.toThrow(
      "Expected a token id below 50, got `50`",
    );
    await expect(table.read(Int32Array.of(-1), row)).rejects.toThrow(RangeError);
    await table.close();
  });

  it("says when the file is missing or of the wrong size", async () => {
    const format = { dtype: "f32", rows: ROWS + 1, columns: COLUMNS } as const;
    await expect(EmbeddingTable.open(join(directory, "none.bin"), format)).rejects.toMatchObject({
      code: "model-files-missing",
    });
    await expect(EmbeddingTable.open(await writeTable("f32"), format)).rejects.toMatchObject({
      code: "model-corrupt",
      message: expect.stringContaining("has 1200 bytes and should have 1224"),
    });
  });

  it("ends reads in progress before it closes, and refuses later ones", async () => {
    const table = await openTable("f32");
    const ids = Int32Array.from({ length: ROWS }, (_, id) => id);
    const rows = new Float32Array(ROWS * COLUMNS);
    const reading = table.read(ids, rows);
    await Promise.all([table.close(), table.close()]);
    await reading;
    expect(rows.at(-1)).toBe(value(ROWS - 1, COLUMNS - 1));
    await expect(table.read(ids, rows)).rejects.toBeInstanceOf(DisposedError);
  });
});
