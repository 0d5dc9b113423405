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
const BYTE = { dtype: "U8", shape: [1], bytes: Buffer.alloc(1) };
const FORMATS = [
  ["fp8", "FP8 in blocks, as the Qwen team publishes it"],
  ["float-rows", "FP8 of compressed-tensors, a scale for each row"],
  ["gptq", "GPTQ with zero points"],
  ["gptq-act-order", "GPTQ with groups in the order of activations"],
  ["awq", "AWQ"],
  ["packed-groups", "compressed-tensors in 4 bits with zero points"],
  ["packed-rows", "compressed-tensors in 4 bits, a scale for each row"],
] as const;

/** What others differ in only; each has one weight or two, and no logits. */
const FORMS = [
  ["fp8-exponents", 1, "FP8 e5m2 in blocks whose scales are exponents"],
  ["float-groups", 1, "FP8 of compressed-tensors, a scale for each group of a row"],
  ["float-blocks", 1, "FP8 of compressed-tensors in blocks that are not square, the last ones cut"],
  ["int-rows", 1, "int8 with zero points"],
  ["packed-bytes", 1, "compressed-tensors, packed 8 bits in groups with zero points"],
  ["auto-round", 2, "AutoRound, a module with groups of its own size"],
] as const;

describe.each(FORMATS)("%s: %s", (name) => {
  it("reads the numbers that the tool itself reads", async () => {
    const fixture = await formatFixture(name);
    expect(fixture.weights.size).toBeGreaterThan(5);
    await expectWeights(fixture);
  });

  it("gives the reference's logits in fp32", async () => {
    const fixture = await formatFixture(name);
    const checkpointDir = await quantizedCheckpoint(await tempDir(), fixture);
    await expectLogits(checkpointDir, fixture);
  });
});

describe.each(FORMS)("%s, %i weights: %s", (name, count) => {
  it("reads the numbers that the tool itself reads", async () => {
    const fixture = await formatFixture(name);
    expect(fixture.weights.size).toBe(count);
    await expectWeights(fixture);
  });
});

async function expectWeights(fixture: FormatFixture): Promise<void> {
  const checkpoint = await openCheckpoint(await quantizedCheckpoint(await tempDir(), fixture));
  try {
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
}

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
    ["gptq", { checkpoint_format: null, format: "marlin" }, "format marlin"],
    ["gptq", { dynamic: { "+:.*down.*": { bits: 8 } } }, "bits 8 in dynamic for +:.*down.*"],
    ["awq", { version: "gemv" }, "version gemv"],
    ["awq", { version: null, format: "gemv" }, "format gemv"],
    ["awq", { version: null, format: "llm-awq" }, "format llm-awq"],
    [
      "auto-round",
      { packing_format: "auto_round:auto_gptq_fp8" },
      "packing_format auto_round:auto",
    ],
    ["auto-round", { data_type: "mx_fp" }, "data_type mx_fp"],
    [
      "auto-round",
      { extra_config: { lm_head: { bits: 8 } } },
      "bits 8 in extra_config for lm_head",
    ],
    ["packed-bytes", { sparsity_config: { format: "sparse-24-bitmask" } }, "sparse-24-bitmask"],
    ["float-blocks", { config_groups: {} }, "a scale for all, for each row"],
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

describe("other methods", () => {
  it.each([
    ["hqq", ["W_q", "scale", "zero"]],
    ["quanto", ["weight._data", "weight._scale", "input_scale"]],
    ["vptq", ["indices", "centroids"]],
    ["torchao", ["_weight_qdata", "_weight_scale"]],
  ])("%s is refused by name, whatever its parts are called", async (method, parts) => {
    const fixture = await formatFixture("packed-rows");
    const modules = new Set(
      fixture.tensors.map(({ name }) => name.slice(0, name.lastIndexOf("."))),
    );
    const tensors = [...modules].flatMap((module) =>
      parts.map((part) => ({ ...BYTE, name: `${module}.${part}` })),
    );
    const settings = { quant_method: method };
    const dir = await quantizedCheckpoint(await tempDir(), { ...fixture, settings, tensors });
    await expect(openCheckpoint(dir)).rejects.toThrow(`quantised already (${method})`);
  });

  it("4-bit floats beside integers are refused by name", async () => {
    const fixture = await formatFixture("packed-rows");
    const settings = { ...fixture.settings, format: "mixed-precision" };
    const tensors = fixture.tensors.map((tensor) =>
      tensor.name.endsWith("0.mlp.up_proj.weight_packed")
        ? { ...tensor, dtype: "U8", shape: [96, 32] }
        : tensor,
    );
    const dir = await quantizedCheckpoint(await tempDir(), { ...fixture, settings, tensors });
    await expect(openCheckpoint(dir)).rejects.toThrow("NVFP4");
  });

  it("scales of a number format that cannot be read are named", async () => {
    const fixture = await formatFixture("fp8");
    const tensors = fixture.tensors.map((tensor) =>
      tensor.name.endsWith("0.mlp.up_proj.weight_scale_inv") ? { ...tensor, dtype: "I32" } : tensor,
    );
    const dir = await quantizedCheckpoint(await tempDir(), { ...fixture, tensors });
    await expect(openCheckpoint(dir)).rejects.toThrow("weight_scale_inv are stored as I32");
  });
});

describe("what tells quantised checkpoints apart", () => {
  it("GPTQ of version 2 stores zero points as they are", async () => {
    const fixture = await formatFixture("gptq");
    const settings = { ...fixture.settings, checkpoint_format: "gptq_v2" };
    const tensors = changed(fixture, ".qzeros", nextZeroPoints);
    const dir = await quantizedCheckpoint(await tempDir(), { ...fixture, settings, tensors });
    await expectLogits(dir, fixture);
  });

  it("a format that only the newer name tells", async () => {
    const fixture = await formatFixture("gptq");
    const settings = { ...fixture.settings, checkpoint_format: null, format: "gptq_v2" };
    const tensors = changed(fixture, ".qzeros", nextZeroPoints);
    const dir = await quantizedCheckpoint(await tempDir(), { ...fixture, settings, tensors });
    await expectWeights({ ...fixture, settings, tensors });
    await expectLogits(dir, fixture);
  });

  it("blocks of 128 x 128 are FP8's own where no size is given", async () => {
    const fixture = await formatFixture("fp8-exponents");
    const settings = { ...fixture.settings, weight_block_size: null };
    const dir = await quantizedCheckpoint(await tempDir(), { ...fixture, settings });
    await expect(openCheckpoint(dir)).rejects.toThrow("or for blocks of 128 x 128");
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

/** From version 1 to version 2. */
function nextZeroPoints(bytes: Buffer): Buffer {
  for (let i = 0; i < bytes.length; i += 4) {
    bytes.writeUInt32LE((bytes.readUInt32LE(i) + 0x11111111) >>> 0, i);
  }
  return bytes;
}

function changed(
  { tensors }: FormatFixture,
  ending: string,
  change: (bytes: Buffer) => Buffer,
): Tensor[] {
  return tensors.map((tensor) =>
    tensor.name.endsWith(ending) ? { ...tensor, bytes: change(Buffer.from(tensor.bytes)) } : tensor,
  );
}
