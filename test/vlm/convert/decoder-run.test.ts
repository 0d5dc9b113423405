import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { openCheckpoint } from "../../../src/vlm/checkpoint/open-checkpoint.ts";
import { DecoderRun, type PseudoInput } from "../../../src/vlm/convert/decoder-run.ts";
import { decoderInputs } from "../../../src/vlm/convert/product-inputs.ts";
import { RowReader } from "../../../src/vlm/convert/row-reader.ts";
import { GOLDEN_NAMES, goldenCheckpoint, TINY_CHAT } from "../../support/golden-checkpoint.ts";
import { syntheticCheckpoint } from "../../support/synthetic-checkpoint.ts";
import { tempDir } from "../../support/temp-dir.ts";

async function allOf(run: DecoderRun, layers: number): Promise<PseudoInput[]> {
  const inputs: PseudoInput[] = [];
  for (let layer = 0; layer < layers; layer++) {
    for await (const input of run.layer(layer)) inputs.push(input);
  }
  for await (const input of run.end()) inputs.push(input);
  return inputs;
}

async function runOf(dir: string) {
  const checkpoint = await openCheckpoint(dir);
  const { config } = checkpoint;
  const decoder = await allOf(
    await DecoderRun.begin(new RowReader(checkpoint), config),
    config.text.layers,
  );
  await checkpoint.close();
  return { config, decoder };
}

describe("a run on random tokens", () => {
  it.each([...GOLDEN_NAMES, "tiny-chat", "odd sizes"] as const)(
    "gives every input of %s its values, in order",
    async (name) => {
      const dir = await tempDir();
      const places = {
        "tiny-chat": async () => TINY_CHAT,
        "odd sizes": () => syntheticCheckpoint(join(dir, "odd")),
        "tiny-tied": () => goldenCheckpoint("tiny-tied", dir),
        "tiny-untied": () => goldenCheckpoint("tiny-untied", dir),
      };
      const { config, decoder } = await runOf(await places[name]());
      expect(decoder.map(({ name, values }) => [name, values.columns])).toEqual(
        decoderInputs(config).map(({ name, columns }) => [name, columns]),
      );
      for (const { values } of decoder) {
        expect(values.values).toHaveLength(values.rows * values.columns);
        expect(values.values.every(Number.isFinite)).toBe(true);
        expect(values.values.some((value) => value !== 0)).toBe(true);
      }
    },
  );

  it("is the same every time", async () => {
    const [first, second] = [await runOf(TINY_CHAT), await runOf(TINY_CHAT)];
    expect(first.decoder.at(-1)).toEqual(second.decoder.at(-1));
  });
});
