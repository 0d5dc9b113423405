import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { DisposedError } from "../../../src/vlm/errors.ts";
import { Session } from "../../../src/vlm/runtime/session.ts";
import { Value } from "../../../src/vlm/runtime/value.ts";
import { leastGrowth } from "../../support/flat-memory.ts";
import { type GraphDirectory, writeGraphs } from "./small-graphs.ts";

let graphs: GraphDirectory;
let session: Session;
const index = Value.of(BigInt64Array.of(0n), [1]);

beforeAll(async () => {
  graphs = await writeGraphs();
  session = await Session.load(graphs.path("increment"));
});

afterAll(async () => {
  await session.dispose();
  await graphs.remove();
});

describe("Value.of", () => {
  it("knows type, shape and bytes", () => {
    const value = Value.of(Int32Array.of(1, 2, 3, 4, 5, 6), [2, 3]);
    expect(value).toMatchObject({ type: "i32", dims: [2, 3], byteLength: 24 });
    expect(Value.of(Float32Array.of(1), []).dims).toEqual([]);
  });

  it("refuses a shape that does not fit", () => {
    expect(() => Value.of(new Float32Array(5), [2, 3])).toThrow(
      "Expected 6 elements for shape [2, 3], got 5",
    );
  });

  it("shares memory with the array in both directions, small arrays included", async () => {
    const x = Float32Array.of(1); // a small array lies on the JavaScript heap unless moved out
    const y = new Float32Array(1);
    const values = { x: Value.of(x, [1]), y: Value.of(y, [1]) };
    for (const number of [10, 20, 30]) {
      x[0] = number;
      await session.run({ x: values.x, index }, { y: values.y });
      expect(y[0]).toBe(number + 1);
    }
  });

  it("reads a part of a larger buffer, shared memory included", async () => {
    const whole = new Float32Array(new SharedArrayBuffer(32)).fill(7);
    const y = new Float32Array(2);
    await session.run({ x: Value.of(whole.subarray(3, 5), [2]), index }, { y: Value.of(y, [2]) });
    expect([...y]).toEqual([8, 8]);
  });
});

describe("a value of the runtime", () => {
  it("passes from run to run without JavaScript seeing it", async () => {
    const between = session.allocate("f32", [3]);
    const y = new Float32Array(3);
    await session.run({ x: Value.of(Float32Array.of(1, 2, 3), [3]), index }, { y: between });
    await session.run({ x: between, index }, { y: Value.of(y, [3]) });
    expect([...y]).toEqual([3, 4, 5]);
    expect(between.location).toEqual({ name: "Cpu", index: 0 });
    between.dispose();
  });

  it("is changed in place when it is input and output", async () => {
    const value = session.allocate("f32", [4]);
    await session.run({ x: Value.of(Float32Array.of(1, 2, 3, 4), [4]), index }, { y: value });
    for (let times = 0; times < 3; times++) await session.run({ x: value, index }, { y: value });
    expect([...value.read()]).toEqual([5, 6, 7, 8]);
    value.dispose();
  });

  it("can be written in slices, which keep its memory alive", async () => {
    const whole = session.allocate("f32", [2, 3]);
    const rows = [0, 1].map((row) => whole.slice(3 * row, [3]));
    for (const [row, y] of rows.entries()) {
      const x = Value.of(new Float32Array(3).fill(10 * row), [3]);
      await session.run({ x, index }, { y });
    }
    expect([...whole.read()]).toEqual([1, 1, 1, 11, 11, 11]);
    whole.dispose();
    expect([...rows[1]!.read()]).toEqual([11, 11, 11]);
    for (const row of rows) row.dispose();
    expect(() => rows[1]!.read()).toThrow(DisposedError);
  });

  it("refuses a slice outside", () => {
    const value = session.allocate("f32", [6]);
    expect(() => value.slice(4, [3])).toThrow("got [3] from element 4");
    expect(() => value.slice(-1, [3])).toThrow(RangeError);
    value.dispose();
  });
});

describe("Value.dispose", () => {
  it("may be called again, and later use is an error", async () => {
    const value = Value.of(new Float32Array(1), [1]);
    value.dispose();
    value.dispose();
    expect(value.disposed).toBe(true);
    await expect(session.run({ x: value, index }, { y: value })).rejects.toBeInstanceOf(
      DisposedError,
    );
    expect(() => value.slice(0, [1])).toThrow(DisposedError);
  });

  it("lets a run in progress end first", async () => {
    const x = session.allocate("f32", [1000]);
    await session.run({ x: Value.of(new Float32Array(1000), [1000]), index }, { y: x });
    const y = new Float32Array(1000);
    const output = Value.of(y, [1000]);
    const run = session.run({ x, index }, { y: output });
    x.dispose();
    output.dispose();
    await run;
    expect(y.every((number) => number === 2)).toBe(true);
  });

  it("leaves memory flat over thousands of runs", async () => {
    const runs = async (count: number) => {
      for (let run = 0; run < count; run++) {
        using x = Value.of(new Float32Array(16_384), [16_384]);
        using y = session.allocate("f32", [16_384]);
        using part = y.slice(0, [16_384]);
        await session.run({ x, index }, { y: part }, { signal: new AbortController().signal });
      }
    };
    // One leaked tensor per run would be 62 MiB a round.
    expect(await leastGrowth(() => runs(1000))).toBeLessThan(25 * 2 ** 20);
  });
});
