// Checkpoints that others quantised: numbers as the tools that wrote them read them, logits as the reference computes
// with them, and what is refused.

import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { openCheckpoint } from "../../../src/vlm/checkpoint/open-checkpoint.ts";
import { convertCheckpoint } from "../../../src/vlm/convert/convert.ts";
import { largestDifference } from "../../support/float-error.ts";
import {
  type FormatFixture,
  formatFixture,
  logitsOf,
  quantizedCheckpoint,
} from "../../support/format-fixture.ts";
import type { Tensor } from "../../support/patched-checkpoint.ts";
import { tempDir } from "../../support/temp-dir.ts";

const ATOL = 1e-4;
const FORMATS = [
  ["fp8", "FP8 in blocks, as the Qwen team publishes it"],
  ["float-rows", "FP8 of compressed-tensors, a scale for each row"],
  ["gptq", "GPTQ with zero points"],
  ["gptq-act-order", "GPTQ with groups in the order of activations"],
  ["awq", "AWQ"],
  ["packed-groups", "compressed-tensors in 4 bits with zero points"],
  ["packed-rows", "compressed-tensors in 4 bits, a scale for each row"],
] as const;

describe.each(FORMATS)("%s: %s", (name) => {
  it("reads the numbers that the tool itself reads", async () => {
    const fixture = await formatFixture(name);
    const checkpoint = await openCheckpoint(await quantizedCheckpoint(await tempDir(), fixture));
    try {
      expect(fixture.weights.size).toBeGreaterThan(5);
      for (const [weightName, expected] of fixture.weights) {
        const weight = checkpoint.tensors.get(weightName);
        if (weight === undefined) throw new Error(`Expected a weight ${weightName}.`);
        const [rows = 0, columns = 0] = weight.shape;
        const values = new Float32Array(rows * columns);
        await weight.readRows(0, rows, values);
        expect(largestDifference(values, expected)).toBeLessThan(1e-7);
        // The same from the middle.
        const part = new Float32Array(3 * columns);
        await weight.readRows(7, 3, part);
        expect(part).toEqual(values.subarray(7 * columns, 10 * columns));
      }
    } finally {
      await checkpoint.close();
    }
  });

  it("gives the reference's logits in fp32", async () => {
    const fixture = await formatFixture(name);
    const checkpointDir = await quantizedCheckpoint(await tempDir(), fixture);
    await expectLogits(checkpointDir, fixture);
  });
});

async function expectLogits(checkpointDir: string, fixture: FormatFixture): Promise<void> {
  const outputDir = join(await tempDir(), "package");
  await convertCheckpoint({ checkpointDir, outputDir, precision: "fp32" });
  for (const { logits, expected, base } of await logitsOf(outputDir, fixture)) {
    expect(largestDifference(logits, expected)).toBeLessThan(ATOL);
    expect(largestDifference(base, expected)).toBeGreaterThan(100 * ATOL);
  }
}

describe("what is refused of quantised checkpoints", () => {
  it.each([
    ["gptq", { bits: 8 }, "bits 8"],
    ["gptq", { checkpoint_format: "marlin" }, "checkpoint_format marlin"],
    ["awq", { version: "gemv" }, "version gemv"],
    ["packed-rows", { format: "marlin-24" }, "format marlin-24"],
    ["packed-rows", { transform_config: { config_groups: { u: {} } } }, "transform_config"],
    ["gptq", { group_size: 64 }, "scales"],
    ["gptq", { sym: true }, "symmetric"],
    ["fp8", { weight_block_size: [64, 64] }, "weight_scale_inv"],
    ["fp8", { quant_method: "quark" }, "quantised already"],
  ])("%s with %j", async (name, settings, words) => {
    const fixture = await formatFixture(name);
    const changed = { ...fixture, settings: { ...fixture.settings, ...settings } };
    const checkpointDir = await quantizedCheckpoint(await tempDir(), changed);
    const outputDir = join(await tempDir(), "package");
    await expect(
      convertCheckpoint({ checkpointDir, outputDir, precision: "fp32" }),
    ).rejects.toThrow(words);
  });

  it("names a part that is missing", async () => {
    const fixture = await formatFixture("gptq");
    const tensors = fixture.tensors.filter(({ name }) => !name.endsWith("0.mlp.up_proj.scales"));
    const dir = await quantizedCheckpoint(await tempDir(), { ...fixture, tensors });
    await expect(openCheckpoint(dir)).rejects.toThrow("its scales is missing");
  });

  it("names a group of columns that is not whole", async () => {
    const fixture = await formatFixture("gptq");
    const tensors = changed(fixture, "q_proj.g_idx", (bytes) => {
      bytes.writeInt32LE(1, 0);
      return bytes;
    });
    const dir = await quantizedCheckpoint(await tempDir(), { ...fixture, tensors });
    await expect(openCheckpoint(dir)).rejects.toThrow("groups of 32 columns each");
  });

  it("names values that are not numbers", async () => {
    const fixture = await formatFixture("fp8");
    const tensors = changed(fixture, "v_proj.weight", (bytes) => bytes.fill(0x7f, 0, 1));
    const dir = await quantizedCheckpoint(await tempDir(), { ...fixture, tensors });
    const outputDir = join(await tempDir(), "package");
    await expect(
      convertCheckpoint({ checkpointDir: dir, outputDir, precision: "fp32" }),
    ).rejects.toThrow("v_proj.weight holds infinite values or values that are not numbers");
  });

  it("does not guess a zero point that readers take differently", async () => {
    const fixture = await formatFixture("gptq");
    const tensors = changed(fixture, "k_proj.qzeros", (bytes) => bytes.fill(0xff, 0, 1));
    const dir = await quantizedCheckpoint(await tempDir(), { ...fixture, tensors });
    const checkpoint = await openCheckpoint(dir);
    const weight = checkpoint.tensors.get("model.language_model.layers.0.self_attn.k_proj.weight");
    await expect(weight?.readRows(0, 1, new Float32Array(64))).rejects.toThrow("two meanings");
    await checkpoint.close();
  });
});

describe("what tells quantised checkpoints apart", () => {
  it("GPTQ of version 2 stores zero points as they are", async () => {
    const fixture = await formatFixture("gptq");
    const settings = { ...fixture.settings, checkpoint_format: "gptq_v2" };
    const tensors = changed(fixture, ".qzeros", (bytes) => {
      for (let i = 0; i < bytes.length; i += 4) {
        bytes.writeUInt32LE((bytes.readUInt32LE(i) + 0x11111111) >>> 0, i);
      }
      return bytes;
    });
    const dir = await quantizedCheckpoint(await tempDir(), { ...fixture, settings, tensors });
    await expectLogits(dir, fixture);
  });

  it("settings left behind on plain weights are ignored, and that is said", async () => {
    const fixture = await formatFixture("gptq");
    const dir = await quantizedCheckpoint(await tempDir(), { ...fixture, tensors: [] });
    const path = join(dir, "config.json");
    const config = JSON.parse(await readFile(path, "utf8")) as { quantization_config: object };
    config.quantization_config = { quant_method: "gptq", bits: 3 };
    await writeFile(path, JSON.stringify(config));
    const checkpoint = await openCheckpoint(dir);
    expect(checkpoint.assumptions.join(" ")).toContain("quantization_config");
    await checkpoint.close();
  });
});

function changed(
  { tensors }: FormatFixture,
  ending: string,
  change: (bytes: Buffer) => Buffer,
): Tensor[] {
  return tensors.map((tensor) =>
    tensor.name.endsWith(ending) ? { ...tensor, bytes: change(Buffer.from(tensor.bytes)) } : tensor,
  );
}
