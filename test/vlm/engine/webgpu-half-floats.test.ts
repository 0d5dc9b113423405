// Whether there are 16-bit floats, asked of the CPU, which has them, and of an adapter that says no in the words that
// ONNX Runtime was heard to use for SwiftShader.

import { afterEach, describe, expect, it, vi } from "vitest";
import { attend, measureMostTokens } from "../../../src/vlm/engine/webgpu-attention.ts";
import {
  expectFormats,
  halfFloatTrouble,
  missingFormat,
} from "../../../src/vlm/engine/webgpu-half-floats.ts";
import { WebGpuKvCopies } from "../../../src/vlm/engine/webgpu-kv-copies.ts";
import { WebGpuMemory } from "../../../src/vlm/engine/webgpu-memory.ts";
import { DeviceError } from "../../../src/vlm/errors.ts";
import { OrtError } from "../../../src/vlm/runtime/ort-error.ts";
import { Session } from "../../../src/vlm/runtime/session.ts";
import { Value } from "../../../src/vlm/runtime/value.ts";
import { relativeError } from "../../support/float-error.ts";

const REFUSAL =
  "Non-zero status code returned while running Cast node. Name:'x.f16' Status Message: shader_helper.cc:416 " +
  "GenerateSourceCode Program Cast requires f16 but the device does not support it.\nand more";

describe("16-bit floats", () => {
  afterEach(() => vi.restoreAllMocks());

  it("are there where a product comes out right", async () => {
    expect(await halfFloatTrouble("cpu")).toBeUndefined();
  });

  it("are missing where the first run says so", async () => {
    const run = vi.spyOn(Session.prototype, "run");
    run.mockRejectedValueOnce(new OrtError(1, REFUSAL));
    expect(await halfFloatTrouble("cpu")).toBe(
      "its graphics adapter or driver has no 16-bit floats (shader-f16)",
    );
    run.mockRejectedValueOnce(new OrtError(1, "Out of luck.\nand more"));
    expect(await halfFloatTrouble("cpu")).toBe("it fails with 16-bit floats: Out of luck.");
  });

  it("are of no use where a product comes out wrong", async () => {
    vi.spyOn(Session.prototype, "run").mockResolvedValue();
    expect(await halfFloatTrouble("cpu")).toMatch("computes wrongly with 16-bit floats");
  });

  it("are not said to be missing where the device is lost meanwhile", async () => {
    const lost = new DeviceError("device-lost", "The device webgpu was lost.");
    vi.spyOn(Session.prototype, "run").mockRejectedValue(lost);
    await expect(halfFloatTrouble("cpu")).rejects.toBe(lost);
  });

  it("are asked for by what computes with them, on WebGPU alone", async () => {
    const find = vi.fn(async () => "no");
    for (const [decoder, vision] of [
      ["q4", "fp32"],
      ["fp32", "fp32"],
    ] as const) {
      expect(await missingFormat("webgpu", { decoder, vision }, find)).toBeUndefined();
    }
    expect(
      await missingFormat("cuda:0", { decoder: "fp16", vision: "bf16" }, find),
    ).toBeUndefined();
    expect(await missingFormat("cpu", { decoder: "q4f16", vision: "fp16" }, find)).toBeUndefined();
    expect(find).not.toHaveBeenCalled();
    expect(await missingFormat("webgpu", { decoder: "q4f16", vision: "fp32" }, find)).toBe("no");
    await expect(
      expectFormats("webgpu", { decoder: "fp16", vision: "fp32" }, find),
    ).rejects.toMatchObject({ code: "device-unavailable" });
  });
});

describe("what WebGPU is asked at a load, on the CPU", () => {
  it("has the same attention in 16 bits as in 32", async () => {
    const [half, whole] = [await attend(67, "f16", "cpu"), await attend(67, "f32", "cpu")];
    expect(relativeError(half, whole)).toBeLessThan(1e-3);
    expect(relativeError(half, whole)).toBeGreaterThan(0);
  });

  it.each(["f32", "f16"] as const)(
    "makes runs of any length in %s where long ones are right",
    async (type) => {
      const right = (tokens: number) => attend(tokens, type, "cpu");
      expect(await measureMostTokens(type, right)).toBe(Number.POSITIVE_INFINITY);
    },
  );

  it.each(["f32", "f16"] as const)(
    "makes short runs in %s where long ones are off by three hundredths",
    async (type) => {
      const narrow = async (tokens: number) => {
        const result = await attend(tokens, type, "cpu");
        return tokens > 31 ? result.map((value) => value + 0.03) : result;
      };
      expect(await measureMostTokens(type, narrow)).toBe(31);
      const nothing = async (tokens: number) =>
        (await attend(tokens, type, "cpu")).fill(Number.NaN);
      await expect(measureMostTokens(type, nothing)).rejects.toMatchObject({
        code: "device-unavailable",
        message: expect.stringContaining("computes attention wrongly on this adapter"),
      });
    },
  );

  it("knows 16-bit memory that is there, and copies it", async () => {
    const memory = await WebGpuMemory.load("cpu", "f16");
    const parts = [{ name: "0.key", type: "f16" as const, heads: 1, width: 2 }];
    const copies = await WebGpuKvCopies.load(parts, "cpu");
    const halves = Uint16Array.of(0x3c00, 0x4000, 0x7e00, 0x4200);
    using table = Value.of(halves, [2, 2]);
    await memory.expect([table], "keys and values");
    const [taken] = await copies.take([table], Int32Array.of(1, 0));
    expect([...taken!.read()]).toEqual([0x7e00, 0x4200, 0x3c00, 0x4000]);
    taken!.dispose();
    await copies.dispose();
    await memory.dispose();
  });
});
