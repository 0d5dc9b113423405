// Decoders for cards of sizes that no published checkpoint has, on the CPU: fewer heads of keys than of queries or as many,
// widths that are no whole blocks, a head of its own, a vocabulary of any size. Compared with the same weights in fp32 by
// the decoder for the CPU, which the goldens prove.

import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { convertCheckpoint } from "../../../src/vlm/convert/convert.ts";
import { Decoder } from "../../../src/vlm/engine/decoder.ts";
import type { TopScores } from "../../../src/vlm/engine/decoder-backend.ts";
import { DeviceDecoder } from "../../../src/vlm/engine/device-decoder.ts";
import { openPackage } from "../../../src/vlm/engine/onnx-package.ts";
import { relativeError } from "../../support/float-error.ts";
import { CONFIG_SMALL, syntheticCheckpoint } from "../../support/synthetic-checkpoint.ts";
import { tempDir } from "../../support/temp-dir.ts";

interface Shape {
  readonly text: object;
  readonly tied?: boolean;
}

const rope = (mrope_section: readonly number[]) => ({
  rope_scaling: { mrope_section, rope_type: "default" },
});

const SHAPES: Readonly<Record<string, Shape>> = {
  "four heads of queries on one of keys, wider than the model": {
    text: {
      ...{ hidden_size: 96, intermediate_size: 352, num_attention_heads: 8 },
      ...{ num_key_value_heads: 2, head_dim: 32, ...rope([6, 5, 5]) },
    },
  },
  "as many heads of keys, and a head of its own": {
    text: { hidden_size: 64, intermediate_size: 160, num_key_value_heads: 4, vocab_size: 1003 },
    tied: false,
  },
  "heads of 128, of which one is of keys": {
    text: {
      ...{ hidden_size: 128, intermediate_size: 96, num_attention_heads: 2 },
      ...{ num_key_value_heads: 1, head_dim: 128, vocab_size: 131, ...rope([24, 20, 20]) },
    },
  },
  "nothing in whole blocks": { text: {} },
  "nothing in whole blocks, and a head of its own": { text: { vocab_size: 97 }, tied: false },
};
const PRECISIONS = ["fp16", "w8a16", "q4f16"] as const;
/** Of noise; what four bits lose is as with the goldens. */
const LIMITS = { fp16: 0.01, w8a16: 0.07, q4f16: 0.65 } as const;
const PROMPTS = [1, 7, 18] as const;
const CAPACITY = 24;

describe.each(Object.entries(SHAPES))("a decoder for cards of %s", (_, { text, tied = true }) => {
  let directory: string;
  let checkpointDir: string;
  let expected: (readonly number[])[];

  const idsOf = (tokens: number) => Int32Array.from({ length: tokens }, (_, i) => (7 * i + 3) % 90);
  const inputOf = (ids: Int32Array) => {
    const positions = Int32Array.from({ length: 3 * ids.length }, (_, i) => i % ids.length);
    return { ids, positions };
  };

  async function open(precision: "fp32" | (typeof PRECISIONS)[number]) {
    const outputDir = join(directory, precision);
    await convertCheckpoint({ checkpointDir, outputDir, precision, device: "cpu" });
    return openPackage(outputDir);
  }

  beforeAll(async () => {
    directory = await tempDir();
    checkpointDir = join(directory, "checkpoint");
    const out = { ...CONFIG_SMALL.text_config, ...text };
    const config = {
      ...CONFIG_SMALL,
      tie_word_embeddings: tied,
      text_config: out,
      vision_config: { ...CONFIG_SMALL.vision_config, out_hidden_size: out.hidden_size },
    };
    await syntheticCheckpoint(checkpointDir, { config, dtype: "F32", normsAround: 1 });
    const decoder = await Decoder.load(await open("fp32"));
    const slots = decoder.createSlots(PROMPTS.length, CAPACITY);
    const rows = [];
    for (const tokens of PROMPTS) {
      const slot = slots.open();
      await decoder.append(inputOf(idsOf(tokens)), slot);
      rows.push({ slot, id: 5, position: tokens });
    }
    expected = (await decoder.decode(rows)).map((row) => [...row]);
    await decoder.dispose();
  });

  describe.each(PRECISIONS)("in %s", (precision) => {
    let decoder: DeviceDecoder;

    beforeAll(async () => {
      decoder = await DeviceDecoder.load(await open(precision));
    });

    afterAll(() => decoder.dispose());

    it("writes what the CPU writes: chats of different lengths together, the best of each first", async () => {
      const slots = await decoder.createSlots(PROMPTS.length, CAPACITY);
      const rows = [];
      for (const tokens of PROMPTS) {
        const slot = slots.open();
        await decoder.append(inputOf(idsOf(tokens)), slot, { scores: "none" });
        rows.push({ slot, id: 5, position: tokens });
      }
      for (const [index, found] of (await decoder.decode(rows)).entries()) {
        const { ids, scores, full } = found as TopScores;
        const row = [...(await full())];
        expect(relativeError(row, expected[index]!)).toBeLessThan(LIMITS[precision]);
        const best = [...row.keys()].sort((a, b) => row[b]! - row[a]!).slice(0, ids.length);
        expect([...scores]).toEqual(best.map((id) => row[id]));
        expect(ids.map((id) => row[id])).toEqual([...scores]);
      }
    });
  });
});
