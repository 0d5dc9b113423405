// What libsql would not survive never reaches it.

import { join } from "node:path";
import { expect, it } from "vitest";
import { bindable, openDatabase } from "../../../src/bot/store/database.ts";
import { tempDir } from "../../support/temp-dir.ts";

const directory = await tempDir();

it.each([
  ["an object", {}],
  ["a date", new Date()],
  ["a typed array", new Float32Array(2)],
  ["an array of bytes that is no Buffer", new Uint8Array(2)],
  ["true", true],
  ["nothing", undefined],
  ["an array", [1]],
  ["a function", () => 1],
  ["a bigint", 1n],
  ["infinity", Infinity],
  ["no number", Number.NaN],
  ["an integer that loses digits", 2 ** 53],
  ["text with a zero", "a\0b"],
])("refuses %s", (_, value) => {
  expect(() => bindable([value], "SELECT ?")).toThrow(TypeError);
});

it("refuses too many and too few values", () => {
  expect(() => bindable([1, 2], "SELECT ?")).toThrow("Expected 1 values for a statement, got 2.");
  expect(() => bindable([], "SELECT ?")).toThrow(TypeError);
});

it("gives back what it was given", async () => {
  const database = await openDatabase(join(directory, "a.db"));
  const values = ["文字 😀", 1.5, 2 ** 53 - 1, -7, null, Buffer.from([0, 255])] as const;
  const [row] = database.rows("SELECT ? AS a, ? AS b, ? AS c, ? AS d, ? AS e, ? AS f", values);
  expect([row?.a, row?.b, row?.c, row?.d, row?.e, row?.f]).toEqual([...values]);
  database.close();
});

it("undoes a transaction that fails", async () => {
  const database = await openDatabase(join(directory, "b.db"));
  database.execute("CREATE TABLE t (a)");
  const fail = () =>
    database.transaction(() => {
      database.run("INSERT INTO t VALUES (?)", [1]);
      throw new Error("no");
    });
  expect(fail).toThrow("no");
  expect(database.rows("SELECT * FROM t", [])).toEqual([]);
  database.close();
});
