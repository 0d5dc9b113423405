import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { openCheckpoint } from "../../../src/vlm/checkpoint/open-checkpoint.ts";
import { decoderGraph } from "../../../src/vlm/convert/decoder-graph.ts";
import { HashedFile } from "../../../src/vlm/convert/hashed-file.ts";
import { RowReader } from "../../../src/vlm/convert/row-reader.ts";
import { WeightWriter } from "../../../src/vlm/convert/weight-writer.ts";
import { syntheticCheckpoint } from "../../support/synthetic-checkpoint.ts";
import { tempDir } from "../../support/temp-dir.ts";

describe("WeightWriter", () => {
  it.each(["fp32", "w8a8", "q4"] as const)(
    "writes the same %s bytes whether a matrix fits its memory or goes strip by strip",
    async (precision) => {
      const dir = await tempDir();
      const checkpoint = await openCheckpoint(await syntheticCheckpoint(join(dir, "checkpoint")));
      const { plan, model } = decoderGraph(checkpoint.config, precision);
      const write = async (name: string, stripBytes?: number) => {
        const file = await HashedFile.create(join(dir, name));
        await new WeightWriter(new RowReader(checkpoint), file, stripBytes).write(plan);
        return await file.finish();
      };
      const whole = await write("whole");
      // Less than one column of the largest matrix: one column at a time.
      const columns = await write("columns", 50);
      const strips = await write("strips", 3000);
      expect(whole.bytes).toBe(model.externalByteLength);
      expect([columns.sha256, strips.sha256]).toEqual([whole.sha256, whole.sha256]);
      await checkpoint.close();
    },
  );

  it("stacks q, k and v and turns them", async () => {
    const dir = await tempDir();
    const checkpoint = await openCheckpoint(
      await syntheticCheckpoint(join(dir, "checkpoint"), { dtype: "F32" }),
    );
    const { plan } = decoderGraph(checkpoint.config, "fp32");
    const file = await HashedFile.create(join(dir, "data"));
    await new WeightWriter(new RowReader(checkpoint), file).write(plan);
    await file.finish();
    const line = plan.find(({ target }) => target.name === "layers.1.self_attn.packed.weight");
    if (line?.kind !== "transposed") throw new Error("Expected a turned matrix.");
    expect(line.target.shape).toEqual([40, 64 + 32 + 32]);
    const data = (await readFile(join(dir, "data"))).subarray(line.target.offset);
    // Row 5 of v is column 64 + 32 + 5 of the stack.
    const tensor = checkpoint.tensors.get(line.sources[2] ?? "");
    if (tensor === undefined) throw new Error("The checkpoint has no v.");
    const row = new Float32Array(40);
    await tensor.readRows(5, 1, row);
    const column = row.map((_, k) => data.readFloatLE((k * 128 + 64 + 32 + 5) * 4));
    expect(column).toEqual(row);
    await checkpoint.close();
  });
});
