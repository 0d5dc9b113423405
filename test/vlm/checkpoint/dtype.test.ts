import { describe, expect, it } from "vitest";
import { toFloat32, weightDtype } from "../../../src/vlm/checkpoint/dtype.ts";

function widen16(words: number[], dtype: "bf16" | "f16") {
  const target = new Float32Array(words.length);
  const bytes = new Uint8Array(Uint16Array.from(words).buffer);
  const finite = toFloat32(bytes, dtype, target, words.length);
  return { finite, values: [...target] };
}

describe("toFloat32", () => {
  it("widens bf16 exactly", () => {
    expect(widen16([0x3f80, 0xc000, 0x0000, 0x7f7f, 0x0001], "bf16")).toEqual({
      finite: true,
      values: [1, -2, 0, 3.3895313892515355e38, 9.183549615799121e-41],
    });
  });

  it("widens f16 exactly, denormals included", () => {
    expect(widen16([0x3c00, 0xc000, 0x8000, 0x7bff, 0x0001, 0x03ff, 0x3555], "f16")).toEqual({
      finite: true,
      values: [1, -2, -0, 65504, 2 ** -24, 1023 * 2 ** -24, 0.333251953125],
    });
  });

  it("copies f32, also from an offset", () => {
    const bytes = new Uint8Array(Float32Array.of(0, 1.5, -2.25).buffer).subarray(4);
    const target = new Float32Array(2);
    expect(toFloat32(bytes, "f32", target, 2)).toBe(true);
    expect([...target]).toEqual([1.5, -2.25]);
  });

  it("notices infinities and values that are not numbers", () => {
    expect(widen16([0x3f80, 0x7f80], "bf16").finite).toBe(false);
    expect(widen16([0xffc0, 0x3f80], "bf16").finite).toBe(false);
    expect(widen16([0x7c00], "f16").finite).toBe(false);
    const nan = new Uint8Array(Float32Array.of(1, Number.NaN).buffer);
    expect(toFloat32(nan, "f32", new Float32Array(2), 2)).toBe(false);
  });
});

describe("weightDtype", () => {
  it("knows three formats", () => {
    expect(["BF16", "F16", "F32"].map(weightDtype)).toEqual(["bf16", "f16", "f32"]);
    expect(() => weightDtype("F64")).toThrow("got `F64`");
  });
});
