// A piece of a prompt and the next tokens of others in one run: everybody's scores are the reference's, nobody's keys and
// values are touched, and a run that fails leaves everything as it was.

import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { Scores } from "../../../src/vlm/engine/decoder-backend.ts";
import type { KvCache } from "../../../src/vlm/engine/kv-cache.ts";
import { largestDifference } from "../../support/float-error.ts";
import { GOLDEN_NAMES, type GoldenCase } from "../../support/golden-checkpoint.ts";
import { GoldenModel, promptOfCase, sequenceOf } from "../../support/golden-engine.ts";

const TOLERANCE = 1e-4;
const VOCAB = 256;

describe.each(GOLDEN_NAMES)("runs of the golden checkpoint %s", (name) => {
  let model: GoldenModel;
  beforeAll(async () => {
    model = await GoldenModel.load(name);
  });
  afterAll(() => model.dispose());

  async function sequenceIn(slot: KvCache, golden: GoldenCase) {
    const sequence = sequenceOf(promptOfCase(golden));
    sequence.slot = slot;
    for (const picture of sequence.pictures) {
      picture.features = await model.encoder.encode(picture.tensor);
    }
    return sequence;
  }

  /** The scores after a case's prompt and each token of its answer. */
  const expected = ({ logits, decodeLogits }: GoldenCase) => [
    logits.subarray(-VOCAB),
    ...decodeLogits,
  ];

  it.each([
    [1, 1],
    [1, 5],
    [3, 2],
    [7, 3],
  ])("with %d who write, and a prompt in pieces of %d", async (writers, chunkTokens) => {
    const { decoder, cases } = model;
    for (const [index, golden] of cases.entries()) {
      const slots = decoder.createSlots(writers + 1, 128);
      // The prompt lies first: those who write take its place, and it moves.
      const reading = await sequenceIn(slots.open(), golden);
      const writing = [];
      for (let writer = 0; writer < writers; writer++) {
        const other = cases[(index + 1 + writer) % cases.length]!;
        const sequence = await sequenceIn(slots.open(), other);
        await decoder.append(sequence.chunk(sequence.ids.length), slotOf(sequence.slot));
        writing.push({ other, sequence, step: 0 });
      }
      let last: Scores | undefined;
      while (reading.remaining > 0) {
        const going = writing.filter(({ other, step }) => step < other.decodeLogits.length);
        const rows = going.map(({ other, sequence, step }) => ({
          slot: slotOf(sequence.slot),
          id: other.greedyTokens[step]!,
          position: sequence.nextPosition,
        }));
        const chunk = reading.chunk(chunkTokens);
        if (rows.length === 0) {
          [last] = await decoder.append(chunk, slotOf(reading.slot));
          continue;
        }
        const scores = await decoder.together!(chunk, reading.slot!, rows);
        last = scores[0];
        for (const [row, writer] of going.entries()) {
          const reference = expected(writer.other)[++writer.step]!;
          expect(largestDifference(full(scores[row + 1]), reference)).toBeLessThan(TOLERANCE);
        }
      }
      expect(largestDifference(full(last), expected(golden)[0]!)).toBeLessThan(TOLERANCE);
      // What others left behind the prompt is not there for its own answer.
      for (const [step, reference] of golden.decodeLogits.entries()) {
        const id = golden.greedyTokens[step]!;
        const row = { slot: slotOf(reading.slot), id, position: reading.nextPosition };
        const [next] = await decoder.decode([row]);
        expect(largestDifference(full(next), reference)).toBeLessThan(TOLERANCE);
      }
      slots.dispose();
    }
  });

  it("are two where the prompt's slot has no room for the tokens of others", async () => {
    const { decoder, cases } = model;
    // The longest prompt fills its slot.
    const [golden, other] = cases.toSorted((a, b) => b.inputIds.length - a.inputIds.length) as [
      GoldenCase,
      GoldenCase,
    ];
    const slots = decoder.createSlots(2, golden.inputIds.length);
    expect(other.inputIds.length).toBeLessThan(golden.inputIds.length);
    const writing = await sequenceIn(slots.open(), other);
    await decoder.append(writing.chunk(writing.ids.length), slotOf(writing.slot));
    const reading = await sequenceIn(slots.open(), golden);
    const id = other.greedyTokens[0]!;
    const rows = [{ slot: writing.slot!, id, position: writing.nextPosition }];
    const [last, next] = await decoder.together!(reading.chunk(1000), reading.slot!, rows);
    expect(largestDifference(full(last), expected(golden)[0]!)).toBeLessThan(TOLERANCE);
    expect(largestDifference(full(next), expected(other)[1]!)).toBeLessThan(TOLERANCE);
    slots.dispose();
  });

  it("that are stopped or refused leave everybody as they were", async () => {
    const { decoder, cases } = model;
    const slots = decoder.createSlots(2, 128);
    const writing = await sequenceIn(slots.open(), cases[0]!);
    await decoder.append(writing.chunk(1000), slotOf(writing.slot));
    const reading = await sequenceIn(slots.open(), cases[1]!);
    const lengths = [writing.slot!.length, reading.slot!.length];
    const rows = [{ slot: writing.slot!, id: 7, position: writing.nextPosition }];
    const signal = AbortSignal.abort("enough");
    const stopped = decoder.together!(reading.chunk(3), reading.slot!, rows, { signal });
    await expect(stopped).rejects.toBe("enough");
    const twice = [...rows, ...rows];
    await expect(decoder.together!(reading.chunk(3), reading.slot!, twice)).rejects.toThrow(
      "in use by another run",
    );
    expect([writing.slot!.length, reading.slot!.length]).toEqual(lengths);
    const [, next] = await decoder.together!(reading.chunk(3), reading.slot!, rows);
    const plain = await sequenceIn(decoder.createSlots(1, 128).open(), cases[0]!);
    await decoder.append(plain.chunk(1000), slotOf(plain.slot));
    const alone = { slot: slotOf(plain.slot), id: 7, position: plain.nextPosition };
    const [reference] = await decoder.decode([alone]);
    expect(largestDifference(full(next), full(reference))).toBeLessThan(TOLERANCE);
    slots.dispose();
  });
});

/** The slots of this decoder are its own caches. */
const slotOf = (slot: unknown) => slot as KvCache;

function full(scores: Scores | undefined): Float32Array {
  if (!(scores instanceof Float32Array)) throw new TypeError("Expected all scores");
  return scores;
}
