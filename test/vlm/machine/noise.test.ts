import { expect, it } from "vitest";
import { Noise } from "../../../src/vlm/machine/noise.ts";

it("is small numbers, and other ones for each tensor", async () => {
  const noise = await Noise.make(2 ** 23);
  const shape = [1024, 1024];
  const [one, other] = [noise.tensor("f32", shape), noise.tensor("f32", shape)];
  const again = noise.tensor("f32", [1024, 1000]);
  const numbers = [one, other, again].map((value) => [
    ...(value.read() as Float32Array).slice(0, 1000),
  ]);
  for (const list of numbers) {
    expect(Math.max(...list.map(Math.abs))).toBeLessThan(0.02);
    expect(Math.min(...list.map(Math.abs))).toBeGreaterThan(0.005);
    expect(list.some((number) => number < 0)).toBe(true);
    expect(new Set(list).size).toBeGreaterThan(900);
  }
  const [first, second, third] = numbers;
  expect(first).not.toEqual(second);
  expect(first).not.toEqual(third);
  expect(noise.tensor("i8", [3, 5])).toMatchObject({ type: "i8", dims: [3, 5] });
  expect(() => noise.tensor("f32", [2 ** 22])).toThrow(RangeError);
  noise.dispose();
  expect(one.disposed).toBe(true);
});
