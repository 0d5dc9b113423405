import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import type { PackagePrecision } from "../../../src/vlm/convert/package-graphs.ts";
import { expectFormats } from "../../../src/vlm/engine/webgpu-half-floats.ts";
import { DeviceError, InferenceError } from "../../../src/vlm/errors.ts";
import { DeviceProofs } from "../../../src/vlm/proof/device-proofs.ts";
import type { GoldenErrors, GoldenRun } from "../../../src/vlm/proof/golden-errors.ts";
import { tempDir } from "../../support/temp-dir.ts";

const FP32: PackagePrecision = { decoder: "fp32", vision: "fp32" };
const Q4: PackagePrecision = { decoder: "q4", vision: "fp32" };
const RIGHT = { largest: 1e-5, relative: 1e-6, fromCpu: undefined, sameTokens: 6, steps: 6 };
const DAY_MS = 24 * 60 * 60 * 1000;

/** A device that gives these results, with the driver of this name. */
class Machine {
  driver = "1.0";
  result: GoldenErrors | Error = RIGHT;
  halfFloats = true;
  nowMs = 1_800_000_000_000;
  readonly runs: GoldenRun[] = [];
  readonly file: string;

  constructor(directory: string) {
    this.file = join(directory, "cache", "device-proofs.json");
  }

  /** As a new process sees it. */
  proofs(): DeviceProofs {
    return new DeviceProofs({
      file: this.file,
      expectFormats: (device, precision) =>
        expectFormats(device, precision, async () =>
          this.halfFloats ? undefined : "it has no shader-f16",
        ),
      identify: async (device, precision) => JSON.stringify([device, precision, this.driver]),
      compute: async (run) => {
        this.runs.push(run);
        if (this.result instanceof Error) throw this.result;
        return this.result;
      },
      now: () => this.nowMs,
    });
  }
}

async function machine(): Promise<Machine> {
  return new Machine(await tempDir());
}

describe("the proof that a device computes rightly", () => {
  it("is made at the first load, by one small case, and kept", async () => {
    const here = await machine();
    await here.proofs().expect("webgpu", FP32);
    await here.proofs().expect("webgpu", FP32);
    expect(here.runs).toHaveLength(1);
    expect(here.runs[0]).toMatchObject({ device: "webgpu", cases: ["odd_grid"], precision: FP32 });
  });

  it("is not asked of the CPU", async () => {
    const here = await machine();
    await here.proofs().expect("cpu", { decoder: "w8a8", vision: "w8a8" });
    expect(here.runs).toEqual([]);
  });

  it("is made again for another driver, device or precision, and after a week", async () => {
    const here = await machine();
    await here.proofs().expect("webgpu", FP32);
    here.driver = "1.1";
    await here.proofs().expect("webgpu", FP32);
    expect(here.runs).toHaveLength(2);
    here.result = { ...RIGHT, fromCpu: 1e-6 };
    await here.proofs().expect("webgpu", Q4);
    expect(here.runs).toHaveLength(3);
    here.nowMs += 6 * DAY_MS;
    await here.proofs().expect("webgpu", FP32);
    expect(here.runs).toHaveLength(3);
    here.nowMs += 2 * DAY_MS;
    await here.proofs().expect("webgpu", FP32);
    expect(here.runs).toHaveLength(4);
    // What has run out goes.
    expect(Object.keys(JSON.parse(await readFile(here.file, "utf8")))).toHaveLength(1);
  });

  it.each([
    ["is a little off", { ...RIGHT, largest: 2e-4 }, FP32],
    ["is no number", { ...RIGHT, largest: Number.POSITIVE_INFINITY }, FP32],
    ["has another likeliest token", { ...RIGHT, sameTokens: 5 }, FP32],
    ["is not what the CPU makes of four bits", { ...RIGHT, relative: 0.5, fromCpu: 0.01 }, Q4],
  ])("fails where a result %s, at every load", async (_, result, precision) => {
    const here = await machine();
    here.result = result;
    for (const count of [1, 2]) {
      await expect(here.proofs().expect("webgpu", precision)).rejects.toMatchObject({
        name: "ModelLoadError",
        code: "device-unavailable",
        message: expect.stringMatching(
          /"webgpu" computes wrongly: .*napcat-vlm prove --device webgpu/,
        ),
      });
      expect(here.runs).toHaveLength(count);
    }
  });

  it("fails where the device cannot compute at all, and passes on what has another cause", async () => {
    const here = await machine();
    here.result = new InferenceError("prefill", "Program MatMul requires f16.");
    await expect(here.proofs().expect("webgpu", FP32)).rejects.toMatchObject({
      code: "device-unavailable",
      message: expect.stringContaining("Program MatMul requires f16."),
    });
    here.result = new DeviceError("device-memory", "cuda:0 has no room.");
    await expect(here.proofs().expect("webgpu", FP32)).rejects.toBe(here.result);
  });

  it.each([
    { decoder: "q4f16", vision: "fp32" },
    { decoder: "fp16", vision: "fp16" },
  ] as const)(
    "is not tried in $decoder where the adapter has no 16-bit floats, which is said",
    async (precision) => {
      const here = await machine();
      here.halfFloats = false;
      await expect(here.proofs().expect("webgpu", precision)).rejects.toMatchObject({
        name: "ModelLoadError",
        code: "device-unavailable",
        message:
          `The device "webgpu" cannot compute in ${precision.decoder} here: it has no shader-f16. ` +
          'Use precision "q4" or "fp32", or device "cpu".',
      });
      expect(here.runs).toEqual([]);
      await here.proofs().expect("webgpu", FP32);
      await here.proofs().expect("cuda:0", { decoder: "fp16", vision: "bf16" });
      here.halfFloats = true;
      here.result = { ...RIGHT, relative: 0.01, fromCpu: 0.005 };
      await here.proofs().expect("webgpu", precision);
      expect(here.runs).toHaveLength(3);
    },
  );

  it("is taken back by a whole proof that fails, and given by one that holds", async () => {
    const here = await machine();
    await here.proofs().record("cuda:0", { decoder: "fp16", vision: "bf16" }, true);
    await here.proofs().expect("cuda:0", { decoder: "fp16", vision: "bf16" });
    expect(here.runs).toEqual([]);
    await here.proofs().record("cuda:0", { decoder: "fp16", vision: "bf16" }, false);
    here.result = { ...RIGHT, relative: 0.02 };
    await here.proofs().expect("cuda:0", { decoder: "fp16", vision: "bf16" });
    expect(here.runs).toHaveLength(1);
  });

  it("does not exist for a precision that nothing compares", async () => {
    const here = await machine();
    await expect(
      here.proofs().expect("webgpu", { decoder: "w8a8", vision: "w8a8" }),
    ).rejects.toMatchObject({
      code: "model-unsupported",
      message: expect.stringMatching(/fp32 and q4 and fp16 and q4f16 and w8a16/),
    });
  });

  it("is made anew where what was kept is damaged, and needs no place to be kept", async () => {
    const here = await machine();
    await here.proofs().expect("webgpu", FP32);
    await writeFile(here.file, "{ half");
    await here.proofs().expect("webgpu", FP32);
    expect(here.runs).toHaveLength(2);
    const nowhere = new Machine(join(here.file, "below-a-file"));
    await nowhere.proofs().expect("webgpu", FP32);
    await nowhere.proofs().expect("webgpu", FP32);
    expect(nowhere.runs).toHaveLength(2);
  });
});
