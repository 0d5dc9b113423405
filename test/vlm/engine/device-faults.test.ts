// Nothing that nobody has computed reaches an answer, and nothing that a failed run wrote: the loop on a golden checkpoint
// in the form for cards, computed by the CPU, with fresh memory full of NaN and runs that fail at random. A run that fails
// leaves NaN wherever it could have written; one that goes wrong silently does so too, and says nothing.

import fc from "fast-check";
import { afterAll, afterEach, beforeAll, describe, expect, it, vi } from "vitest";
import type { Scores } from "../../../src/vlm/engine/decoder-backend.ts";
import { DeviceDecoder } from "../../../src/vlm/engine/device-decoder.ts";
import { Engine } from "../../../src/vlm/engine/engine.ts";
import { FeatureCache } from "../../../src/vlm/engine/feature-cache.ts";
import { NoNumbersError } from "../../../src/vlm/engine/high-scores.ts";
import { PrefixCache } from "../../../src/vlm/engine/prefix-cache.ts";
import type { TokenReader } from "../../../src/vlm/engine/sequence.ts";
import { VisionEncoder } from "../../../src/vlm/engine/vision-encoder.ts";
import { DeviceError } from "../../../src/vlm/errors.ts";
import type { ImageTensor } from "../../../src/vlm/image/image-tensor.ts";
import { loadOrt } from "../../../src/vlm/runtime/ort.ts";
import { type NamedValues, Session } from "../../../src/vlm/runtime/session.ts";
import type { Value } from "../../../src/vlm/runtime/value.ts";
import { relativeError } from "../../support/float-error.ts";
import { holds } from "../../support/fuzz.ts";
import { goldenCases } from "../../support/golden-checkpoint.ts";
import { picturesOf, promptOf, sequenceOf } from "../../support/golden-engine.ts";
import { goldenPackage } from "../../support/golden-package.ts";

const CAPACITY = 96;
/** Batches and chunks of other sizes round elsewhere; what was not computed is far away. */
const LIMIT = 0.01;

/** How a run goes wrong: before it has written anything, after that, or without a word. */
type Fault = "none" | "refused" | "failed" | "silent";

interface Question {
  readonly text: number;
  readonly picture: number;
  readonly says: readonly number[];
}

/** The longest are several chunks, and blocks of the cache; beginnings are in common. */
const TEXTS = [12, 40, 41, 70].map((length) =>
  Array.from({ length }, (_, index) => (index === 40 ? length : (7 * index) % 200)),
);

/** Says what was decided beforehand, and keeps the scores. */
class Reader implements TokenReader {
  readonly scores: Float32Array[] = [];
  readonly #says: readonly number[];

  constructor(says: readonly number[]) {
    this.#says = says;
  }

  take(scores: Scores) {
    if (!(scores instanceof Float32Array)) return "needs-all-scores";
    const wrong = scores.findIndex((score) => Number.isNaN(score));
    if (wrong >= 0) throw new NoNumbersError(`The logits hold NaN, first at id ${wrong}.`);
    this.scores.push(scores.slice());
    return this.#says[this.scores.length - 1];
  }
}

let decoder: DeviceDecoder;
let encoder: VisionEncoder;
let pictures: readonly ImageTensor[];
/** What becomes of the runs from now on, one after the other; then they are as they should be. */
let faults: Fault[] = [];

beforeAll(async () => {
  const model = await goldenPackage("tiny-tied", { precision: "fp16", device: "cpu" });
  poisonFreshMemory();
  [decoder, encoder] = [await DeviceDecoder.load(model), await VisionEncoder.load(model)];
  pictures = (await goldenCases("tiny-tied")).flatMap((golden) => picturesOf(golden));
  failRuns();
});

afterEach(() => {
  faults = [];
});

afterAll(async () => {
  vi.restoreAllMocks();
  await decoder.dispose();
  await encoder.dispose();
});

/** All ones are NaN, whatever the size of the number. */
function poison(value: Value, from = 0, byteLength = value.byteLength - from): void {
  new Uint8Array(loadOrt().memory(value.address, value.byteLength)).fill(
    0xff,
    from,
    from + byteLength,
  );
}

function poisonFreshMemory(): void {
  const allocate = Session.prototype.allocateOnDevice;
  vi.spyOn(Session.prototype, "allocateOnDevice").mockImplementation(async function (
    this: Session,
    ...args
  ) {
    const value = await allocate.apply(this, args);
    poison(value);
    return value;
  });
}

function failRuns(): void {
  const run = Session.prototype.run;
  vi.spyOn(Session.prototype, "run").mockImplementation(async function (
    this: Session,
    inputs,
    outputs,
    options,
  ) {
    const fault = faults.shift() ?? "none";
    if (fault === "refused") throw new DeviceError("device-memory", "No room for a run.");
    await run.call(this, inputs, outputs, options);
    if (fault === "none") return;
    spoilOutputs(inputs, outputs);
    if (fault === "failed") throw new DeviceError("device-memory", "No room for the end of a run.");
  });
}

/** Everything that a run writes: whole outputs, and of keys and values the new tokens of each sequence. */
function spoilOutputs(inputs: NamedValues, outputs: NamedValues): void {
  for (const [name, value] of Object.entries(outputs)) {
    if (!name.startsWith("present.")) {
      poison(value);
      continue;
    }
    const [rows = 0, heads = 0, capacity = 0, width = 0] = value.dims;
    const [, tokens = 0] = inputs.input_ids!.dims;
    const ends = inputs.seqlens_k!.read();
    for (let row = 0; row < rows; row++) {
      const first = Number(ends[row]) + 1 - tokens;
      for (let head = 0; head < heads; head++) {
        poison(value, 2 * width * ((row * heads + head) * capacity + first), 2 * width * tokens);
      }
    }
  }
}

async function engine() {
  const slots = await decoder.createSlots(3, CAPACITY);
  const loop = new Engine({
    decoder,
    slots,
    visionEncoder: encoder,
    features: new FeatureCache(2 ** 20),
    prefixes: new PrefixCache({ maxBytes: 2 ** 24, blockTokens: 16 }),
    maxQueue: 64,
    maxStallMs: 500,
    maxChunkTokens: 24,
  });
  return { loop, slots };
}

const partsOf = ({ text, picture }: Question) =>
  picture < 0 ? [TEXTS[text]!] : [pictures[picture]!, TEXTS[text]!];

async function ask(loop: Engine, question: Question): Promise<readonly Float32Array[]> {
  const reader = new Reader(question.says);
  await loop.run(sequenceOf(promptOf(partsOf(question)), { reader }));
  return reader.scores;
}

/** Of a loop that nothing ever went wrong in, kept by question. */
const references = new Map<string, Promise<readonly Float32Array[]>>();

function reference(question: Question): Promise<readonly Float32Array[]> {
  const key = JSON.stringify(question);
  const known =
    references.get(key) ??
    engine().then(async ({ loop, slots }) => {
      const scores = await ask(loop, question);
      await loop.close();
      slots.dispose();
      return scores;
    });
  references.set(key, known);
  return known;
}

function expectSame(found: readonly Float32Array[], expected: readonly Float32Array[]): void {
  expect(found).toHaveLength(expected.length);
  for (const [index, row] of found.entries()) {
    expect(relativeError([...row], [...expected[index]!])).toBeLessThan(LIMIT);
  }
}

const question: fc.Arbitrary<Question> = fc.record({
  text: fc.nat(TEXTS.length - 1),
  picture: fc.integer({ min: -1, max: 1 }),
  says: fc.constantFrom([], [5], [5, 6, 7]),
});

describe("runs that fail on a device", () => {
  it("leave nothing behind that a later answer reads", async () => {
    const scenario = fc.record({
      asked: fc.array(fc.array(question, { minLength: 1, maxLength: 4 }), {
        minLength: 1,
        maxLength: 3,
      }),
      faults: fc.array(
        fc.oneof(
          { weight: 4, arbitrary: fc.constant<Fault>("none") },
          { weight: 3, arbitrary: fc.constantFrom<Fault>("refused", "failed", "silent") },
        ),
        { maxLength: 12 },
      ),
    });
    await holds(
      fc.asyncProperty(scenario, async ({ asked, faults: planned }) => {
        faults = [];
        const questions = asked.flat();
        // One after the other: a decoder has one loop at a time.
        const expected: (readonly Float32Array[])[] = [];
        for (const each of questions) expected.push(await reference(each));
        const { loop, slots } = await engine();
        faults = [...planned];
        let at = 0;
        for (const together of asked) {
          const ends = await Promise.allSettled(together.map((each) => ask(loop, each)));
          for (const end of ends) {
            // Whoever is answered is answered rightly, also beside one who was not.
            if (end.status === "fulfilled") expectSame(end.value, expected[at]!);
            at++;
          }
        }
        faults = [];
        // One who comes first after a silent failure may be who finds out about it; nobody after that.
        await Promise.allSettled(questions.map((each) => ask(loop, each)));
        for (const [index, each] of questions.entries()) {
          expectSame(await ask(loop, each), expected[index]!);
        }
        await loop.close();
        slots.dispose();
      }),
      12,
    );
  });

  it("leave no NaN behind the length of any slot once somebody has found it", async () => {
    const { loop, slots } = await engine();
    const asked = { text: 3, picture: 0, says: [5, 6] };
    // The picture, then the first of several chunks of the prompt: it shows only at the end.
    faults = ["none", "silent"];
    await expect(ask(loop, asked)).rejects.toMatchObject({ code: "inference-failed" });
    const { past } = await slots.bind(0, 3);
    for (const value of Object.values(past)) {
      const bits = new Uint16Array(loadOrt().memory(value.address, value.byteLength).slice(0));
      expect(bits.some((half) => (half & 0x7fff) > 0x7c00)).toBe(false);
    }
    expectSame(await ask(loop, asked), await reference(asked));
    await loop.close();
    slots.dispose();
  });

  it("make nobody read memory that was never written", async () => {
    const { loop, slots } = await engine();
    const questions = TEXTS.map((_, text) => ({ text, picture: (text % 3) - 1, says: [9, 8, 7] }));
    const found = await Promise.all(questions.map((each) => ask(loop, each)));
    for (const scores of found) {
      expect(scores.every((row) => row.every(Number.isFinite))).toBe(true);
    }
    await loop.close();
    slots.dispose();
  });
});
