// 4-bit levels of a checkpoint in a package: what ONNX Runtime multiplies with is what the tool stored.

import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { Tensor } from "onnxruntime-node";
import { describe, expect, it } from "vitest";
import { type Checkpoint, openCheckpoint } from "../../../src/vlm/checkpoint/open-checkpoint.ts";
import { convertCheckpoint } from "../../../src/vlm/convert/convert.ts";
import { HashedFile } from "../../../src/vlm/convert/hashed-file.ts";
import { LinearLayers } from "../../../src/vlm/convert/linear-layers.ts";
import { OnnxModel } from "../../../src/vlm/convert/onnx-model.ts";
import { RowReader } from "../../../src/vlm/convert/row-reader.ts";
import { storedInt4 } from "../../../src/vlm/convert/stored-int4.ts";
import { WeightWriter } from "../../../src/vlm/convert/weight-writer.ts";
import { largestDifference, relativeError } from "../../support/float-error.ts";
import { formatFixture, logitsOf, quantizedCheckpoint } from "../../support/format-fixture.ts";
import { openSession } from "../../support/graph-runner.ts";
import type { Tensor as StoredTensor } from "../../support/patched-checkpoint.ts";
import { tempDir } from "../../support/temp-dir.ts";

const FORMATS = ["gptq", "gptq-act-order", "awq", "packed-groups", "packed-rows"] as const;
const FOUR_BITS = {
  precision: { decoder: "q4", vision: "w8a8" },
  device: "cpu",
} as const;
const LAYER = "model.language_model.layers.0.";

describe.each(FORMATS)("%s", (name) => {
  it("gives MatMulNBits the stored weights, exactly", async () => {
    const fixture = await formatFixture(name);
    const checkpoint = await openCheckpoint(await quantizedCheckpoint(await tempDir(), fixture));
    try {
      for (const sources of [
        ["q", "k", "v"].map((part) => `${LAYER}self_attn.${part}_proj.weight`),
        [`${LAYER}mlp.down_proj.weight`],
      ]) {
        const expected = sources.flatMap((source) => [...(fixture.weights.get(source) ?? [])]);
        const columns = checkpoint.tensors.get(sources[0] ?? "")?.shape[1] ?? 0;
        const product = await readThroughProduct(checkpoint, sources, columns);
        expect(largestDifference(product, expected)).toBeLessThan(1e-7);
      }
    } finally {
      await checkpoint.close();
    }
  });

  it("makes a package of precision q4 that answers nearly as the reference with these weights", async () => {
    const fixture = await formatFixture(name);
    const checkpointDir = await quantizedCheckpoint(await tempDir(), fixture);
    const outputDir = join(await tempDir(), "package");
    const manifest = await convertCheckpoint({
      checkpointDir,
      outputDir,
      precision: "q4",
      visionPrecision: "fp32",
    });
    expect(manifest.tensorGroups["decoder linear layers"]).toContain("as stored by");
    expect(manifest.layers.map(({ name: layer }) => layer)).toEqual(["logits"]);
    for (const { logits, expected } of await logitsOf(outputDir, fixture)) {
      // Activations in int8, as everywhere in q4; quantising these weights again would cost ten times as much.
      expect(relativeError(logits, expected)).toBeLessThan(0.05);
    }
  });
});

/** The weights (N, K) as ONNX Runtime unpacks them: a product with the unit matrix, turned. */
async function readThroughProduct(
  checkpoint: Checkpoint,
  sources: readonly string[],
  columns: number,
): Promise<Float32Array> {
  const dir = await tempDir();
  const rows = sources.reduce(
    (sum, name) => sum + (checkpoint.tensors.get(name)?.shape[0] ?? 0),
    0,
  );
  const model = new OnnxModel("stored");
  const stored = storedInt4(checkpoint, FOUR_BITS);
  const layers = new LinearLayers(model, "s8", undefined, stored);
  const x = model.input("x", "f32", ["tokens", columns]);
  // Of a device: activations stay f32.
  layers.product("y", x, { sources, rows, columns }, "q4f32");
  model.output("y", "f32", ["tokens", rows]);
  const data = await HashedFile.create(join(dir, "stored.data"), {});
  await new WeightWriter(new RowReader(checkpoint), data).write(layers.plan);
  await data.finish();
  await data.close();
  await writeFile(join(dir, "stored.onnx"), model.serialize("stored.data", "1"));
  const session = await openSession(join(dir, "stored.onnx"));
  try {
    const unit = new Float32Array(columns * columns);
    for (let i = 0; i < columns; i++) unit[i * columns + i] = 1;
    const { y } = await session.run({ x: new Tensor("float32", unit, [columns, columns]) });
    const product = y?.data as Float32Array;
    return Float32Array.from(
      { length: rows * columns },
      (_, i) => product[(i % columns) * rows + Math.floor(i / columns)] as number,
    );
  } finally {
    await session.release();
  }
}

describe("groups that a package cannot hold", () => {
  it("are refused in q4 by name, and read as numbers in other precisions, which is said", async () => {
    const fixture = await formatFixture("gptq");
    // Groups of 32 cut into four of 8, each with the scale of the whole.
    const tensors = fixture.tensors.map((tensor) =>
      /\.(scales|qzeros)$/.test(tensor.name) ? repeatRows(tensor, 4) : tensor,
    );
    const settings = { ...fixture.settings, group_size: 8 };
    const withoutOrder = tensors.filter(({ name }) => !name.endsWith("g_idx"));
    const changed = { ...fixture, settings, tensors: withoutOrder };
    const checkpointDir = await quantizedCheckpoint(await tempDir(), changed);
    const dir = await tempDir();
    await expect(
      convertCheckpoint({ checkpointDir, outputDir: join(dir, "q4"), precision: "q4" }),
    ).rejects.toThrow(/q_proj\.weight \(GPTQ\).*groups of 8 are no multiple of 16.*precision w8a8/);
    const outputDir = join(dir, "w8a8");
    const { assumptions } = await convertCheckpoint({
      checkpointDir,
      outputDir,
      precision: "w8a8",
    });
    expect(assumptions.join(" ")).toContain("28 weights are stored in 4 bits (GPTQ)");
  });

  it("are refused where weights that read the same are in different orders or formats", async () => {
    const fixture = await formatFixture("gptq-act-order");
    const other = fixture.tensors.find(({ name }) => name.endsWith("0.mlp.up_proj.g_idx"));
    const mixed = fixture.tensors.map((tensor) =>
      tensor.name.endsWith("layers.0.self_attn.k_proj.g_idx")
        ? { ...tensor, bytes: other?.bytes ?? tensor.bytes }
        : tensor,
    );
    await expectRefused(
      { ...fixture, tensors: mixed },
      /k_proj.*\(g_idx, desc_act\).*another order/,
    );
  });
});

async function expectRefused(
  fixture: Awaited<ReturnType<typeof formatFixture>>,
  words: RegExp,
): Promise<void> {
  const checkpointDir = await quantizedCheckpoint(await tempDir(), fixture);
  const outputDir = join(await tempDir(), "package");
  await expect(convertCheckpoint({ checkpointDir, outputDir, precision: "q4" })).rejects.toThrow(
    words,
  );
}

function repeatRows(tensor: StoredTensor, times: number): StoredTensor {
  const [rows = 0, ...rest] = tensor.shape;
  const rowBytes = tensor.bytes.length / rows;
  const parts = Array.from({ length: rows * times }, (_, i) => {
    const row = Math.floor(i / times);
    return tensor.bytes.subarray(row * rowBytes, (row + 1) * rowBytes);
  });
  return { ...tensor, shape: [rows * times, ...rest], bytes: Buffer.concat(parts) };
}
