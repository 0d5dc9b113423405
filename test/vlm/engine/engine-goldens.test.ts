// The goldens through the loop: many sequences at once, chunks of every size, and everything that can be taken from the
// caches instead of being computed.

import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { FeatureCache } from "../../../src/vlm/engine/feature-cache.ts";
import { PrefixCache } from "../../../src/vlm/engine/prefix-cache.ts";
import { largestDifference } from "../../support/float-error.ts";
import { GOLDEN_NAMES, type GoldenCase } from "../../support/golden-checkpoint.ts";
import {
  engineOn,
  GoldenModel,
  promptOfCase,
  Script,
  sequenceOf,
} from "../../support/golden-engine.ts";

const TOLERANCE = 1e-4;
const VOCAB = 256;
const MIB = 2 ** 20;

describe.each(GOLDEN_NAMES)("the golden checkpoint %s in the loop", (name) => {
  let model: GoldenModel;
  beforeAll(async () => {
    model = await GoldenModel.load(name);
  });
  afterAll(() => model.dispose());

  /** The reader that the reference is: it says what it said. */
  const script = ({ greedyTokens, decodeLogits }: GoldenCase) =>
    new Script(greedyTokens.slice(0, decodeLogits.length));

  function expectGolden(golden: GoldenCase, { scores }: Script) {
    const expected = [golden.logits.subarray(-VOCAB), ...golden.decodeLogits];
    expect(scores).toHaveLength(expected.length);
    for (const [step, row] of expected.entries()) {
      expect(largestDifference(scores[step]!, row)).toBeLessThan(TOLERANCE);
    }
  }

  /** As if the first tokens of a case had been computed before, and no more. */
  async function fillCache(prefixes: PrefixCache, golden: GoldenCase, kept: number) {
    const slots = model.decoder.createSlots(1, 128);
    const slot = slots.open();
    const sequence = sequenceOf(promptOfCase(golden));
    sequence.slot = slot;
    for (const picture of sequence.pictures) {
      picture.features = await model.encoder.encode(picture.tensor);
    }
    await model.decoder.append(sequence.chunk(kept), slot);
    await prefixes.remember(sequence.content, slot, { chat: undefined }, { tail: true });
    slots.dispose();
  }

  describe.each([1, 5, 256])("in chunks of %d", (chunkTokens) => {
    it.each([1, 2, 3, 4, 5, 6, 7, 8])(
      "has the reference's logits for %d at once",
      async (count) => {
        const { engine, slots } = engineOn(model, { slots: count, chunkTokens });
        const running = Array.from({ length: count }, async (_, index) => {
          const golden = model.cases[index % model.cases.length]!;
          const reader = script(golden);
          await engine.run(sequenceOf(promptOfCase(golden), { reader }));
          expectGolden(golden, reader);
        });
        await Promise.all(running);
        await engine.close();
        slots.dispose();
      },
    );
  });

  it("has the reference's logits when many wait for few slots and share what is computed", async () => {
    const features = new FeatureCache(16 * MIB);
    const prefixes = new PrefixCache({ maxBytes: 16 * MIB, blockTokens: 4 });
    const { engine } = engineOn(model, { slots: 3, chunkTokens: 5, features, prefixes });
    const running = Array.from({ length: 20 }, async (_, index) => {
      const golden = model.cases[index % model.cases.length]!;
      const reader = script(golden);
      const sequence = sequenceOf(promptOfCase(golden), { reader, chat: `chat ${index % 7}` });
      await engine.run(sequence);
      expectGolden(golden, reader);
      return sequence;
    });
    const sequences = await Promise.all(running);
    expect(sequences.reduce((sum, { reusedTokens }) => sum + reusedTokens, 0)).toBeGreaterThan(100);
    await engine.close();
  });

  it("goes on from a prefix of any length, at block boundaries and inside pictures", async () => {
    for (const golden of model.cases) {
      const prompt = promptOfCase(golden);
      const tokens = prompt.ids.length;
      for (let kept = 1; kept <= tokens; kept++) {
        const prefixes = new PrefixCache({ maxBytes: 16 * MIB, blockTokens: 4 });
        await fillCache(prefixes, golden, kept);
        const { engine } = engineOn(model, { slots: 1, chunkTokens: 7, prefixes });
        const reader = script(golden);
        const sequence = sequenceOf(prompt, { reader });
        await engine.run(sequence);
        expect(sequence.reusedTokens).toBe(Math.min(kept, tokens - 1));
        const unseen = sequence.pictures.filter(({ start, length }) => start + length > kept);
        expect(sequence.encodedPictures).toBe(unseen.length);
        expectGolden(golden, reader);
        await engine.close();
      }
    }
  });

  it("gives the same bits with the caches as without where the same tokens run together", async () => {
    const golden = model.cases.find(({ name }) => name === "two_images")!;
    // The first half of the prompt is computed in one run, whoever computes it.
    const half = Math.ceil(golden.inputIds.length / 2);
    const plain = engineOn(model, { slots: 1, chunkTokens: half });
    const expected = script(golden);
    await plain.engine.run(sequenceOf(promptOfCase(golden), { reader: expected }));

    const prefixes = new PrefixCache({ maxBytes: 16 * MIB, blockTokens: 4 });
    await fillCache(prefixes, golden, half);
    const cached = engineOn(model, { slots: 1, chunkTokens: half, prefixes });
    const reader = script(golden);
    const sequence = sequenceOf(promptOfCase(golden), { reader });
    await cached.engine.run(sequence);
    expect(sequence.reusedTokens).toBe(half);
    expect(reader.scores).toEqual(expected.scores);
    await Promise.all([plain.engine.close(), cached.engine.close()]);
  });
});
