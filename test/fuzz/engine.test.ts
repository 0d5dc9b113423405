// The engine against the plainest one there is: whatever many chats do to slots and caches, the scores of every sequence
// are those of a decoder that computes this sequence alone and from the beginning.

import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { Engine } from "../../src/vlm/engine/engine.ts";
import { FeatureCache } from "../../src/vlm/engine/feature-cache.ts";
import type { KvSlots } from "../../src/vlm/engine/kv-slots.ts";
import { PrefixCache } from "../../src/vlm/engine/prefix-cache.ts";
import { largestDifference } from "../support/float-error.ts";
import { holds } from "../support/fuzz.ts";
import {
  engineOn,
  GoldenModel,
  type Prompt,
  type PromptPart,
  plainScores,
  promptOf,
  Script,
  sequenceOf,
} from "../support/golden-engine.ts";

const TOLERANCE = 1e-4;
const CAPACITY = 96;
const CHATS = ["a", "b", "c"];
const PICTURES = 3;

/** A few beginnings in common, so that prompts meet and part everywhere. */
const TEXTS: readonly (readonly number[])[] = [
  [3, 1, 4, 1, 5, 9, 2, 6, 5, 3],
  [3, 1, 4, 1, 5, 9, 2, 6, 77],
  [3, 1, 4],
  [42],
  [7, 7, 7, 7, 7],
];

interface Question {
  /** Indices of texts, and of pictures counted from -1 downwards. */
  readonly parts: readonly number[];
  readonly says: readonly number[];
  readonly chat: number;
  readonly priority: number;
  readonly ahead: boolean;
}

type Step =
  | { readonly type: "ask"; readonly question: Question }
  | { readonly type: "abort"; readonly which: number }
  | { readonly type: "forget"; readonly chat: number }
  | { readonly type: "forget picture"; readonly picture: number }
  | { readonly type: "wait"; readonly turns: number };

const question: fc.Arbitrary<Question> = fc.record({
  parts: fc.array(fc.integer({ min: -PICTURES, max: TEXTS.length - 1 }), {
    minLength: 1,
    maxLength: 5,
  }),
  says: fc.array(fc.constantFrom(3, 1, 4, 42, 77), { maxLength: 20, size: "max" }),
  chat: fc.nat(CHATS.length - 1),
  priority: fc.integer({ min: -1, max: 1 }),
  ahead: fc.nat(3).map((nth) => nth === 0),
});

const step: fc.Arbitrary<Step> = fc.oneof(
  { weight: 9, arbitrary: fc.record({ type: fc.constant("ask"), question }) },
  { weight: 2, arbitrary: fc.record({ type: fc.constant("abort"), which: fc.nat() }) },
  { weight: 1, arbitrary: fc.record({ type: fc.constant("forget"), chat: fc.nat(2) }) },
  {
    weight: 1,
    arbitrary: fc.record({
      type: fc.constant("forget picture"),
      picture: fc.nat(PICTURES - 1),
    }),
  },
  { weight: 4, arbitrary: fc.record({ type: fc.constant("wait"), turns: fc.nat(8) }) },
);

interface Settings {
  readonly slots: number;
  readonly chunkTokens: number;
  readonly blockTokens: number;
  /** Bytes; small ones forget all the time. */
  readonly prefixBytes: number;
  readonly featureBytes: number;
}

const settings: fc.Arbitrary<Settings> = fc.record({
  slots: fc.integer({ min: 1, max: 5 }),
  chunkTokens: fc.constantFrom(1, 3, 5, 256),
  blockTokens: fc.constantFrom(2, 4, 32),
  prefixBytes: fc.constantFrom(0, 20_000, 200_000, 8_000_000),
  featureBytes: fc.constantFrom(0, 12_000, 8_000_000),
});

describe("the engine", () => {
  let model: GoldenModel;
  /** Computes what is expected meanwhile: scores of a decoder are gone with its next run. */
  let reference: GoldenModel;
  const expected = new Map<string, Promise<Float32Array[]>>();
  beforeAll(async () => {
    [model, reference] = await Promise.all([
      GoldenModel.load("tiny-tied"),
      GoldenModel.load("tiny-tied"),
    ]);
  });
  afterAll(() => Promise.all([model.dispose(), reference.dispose()]));

  function promptFor({ parts }: Question): Prompt | undefined {
    const all: PromptPart[] = parts.map((part) =>
      part < 0 ? model.pictures[-1 - part]! : TEXTS[part]!,
    );
    const prompt = promptOf(all);
    return prompt.ids.length + 22 <= CAPACITY ? prompt : undefined;
  }

  function plain(asked: Question, prompt: Prompt): Promise<Float32Array[]> {
    const key = JSON.stringify([asked.parts, asked.says]);
    const known = expected.get(key) ?? plainScores(reference, prompt, asked.says);
    expected.set(key, known);
    return known;
  }

  /** One user of the engine and everything they do. */
  class Run {
    readonly engine: Engine;
    readonly slots: KvSlots;
    readonly features: FeatureCache;
    readonly prefixes: PrefixCache;
    readonly #limits: Settings;
    readonly #controllers: AbortController[] = [];
    readonly #asked: Promise<void>[] = [];

    constructor(limits: Settings) {
      this.#limits = limits;
      this.features = new FeatureCache(limits.featureBytes);
      this.prefixes = new PrefixCache({
        maxBytes: limits.prefixBytes,
        blockTokens: limits.blockTokens,
      });
      const { engine, slots } = engineOn(model, {
        ...limits,
        capacity: CAPACITY,
        maxQueue: 1000,
        features: this.features,
        prefixes: this.prefixes,
      });
      this.engine = engine;
      this.slots = slots;
    }

    async take(action: Step): Promise<void> {
      if (action.type === "ask") this.#asked.push(this.#ask(action.question));
      else if (action.type === "abort") {
        this.#controllers[action.which % this.#controllers.length]?.abort("changed my mind");
      } else if (action.type === "forget") {
        this.engine.forget({ chat: CHATS[action.chat] });
      } else if (action.type === "forget picture") {
        const { key } = model.pictures[action.picture]!;
        this.engine.forget({ picture: (other) => other === key });
        expect(this.features.get(key, { chat: undefined })).toBeUndefined();
      } else {
        for (let turn = 0; turn < action.turns; turn++) await new Promise(setImmediate);
      }
      this.#expectBounds();
    }

    async end(): Promise<void> {
      await Promise.all(this.#asked);
      await this.engine.close();
      this.#expectBounds();
      for (const chat of CHATS) this.engine.forget({ chat });
      expect([this.prefixes.blocks, this.features.pictures]).toEqual([0, 0]);
      // Every slot was given back.
      for (let slot = 0; slot < this.slots.count; slot++) this.slots.open();
      this.slots.dispose();
    }

    async #ask(asked: Question): Promise<void> {
      const prompt = promptFor(asked);
      if (!prompt) return;
      const controller = new AbortController();
      this.#controllers.push(controller);
      const reader = new Script(asked.says);
      const sequence = sequenceOf(prompt, {
        ...(asked.ahead ? {} : { reader }),
        chat: CHATS[asked.chat],
        priority: asked.priority,
        signal: controller.signal,
      });
      try {
        await this.engine.run(sequence);
      } catch (error) {
        expect(error).toBe("changed my mind");
        expect(controller.signal.aborted).toBe(true);
      }
      if (asked.ahead) return;
      const scores = await plain(asked, prompt);
      if (!controller.signal.aborted) expect(reader.scores).toHaveLength(scores.length);
      for (const [index, row] of reader.scores.entries()) {
        expect(largestDifference(row, scores[index]!)).toBeLessThan(TOLERANCE);
      }
    }

    #expectBounds(): void {
      expect(this.prefixes.totalBytes).toBeLessThanOrEqual(this.#limits.prefixBytes);
      expect(this.features.totalBytes).toBeLessThanOrEqual(this.#limits.featureBytes);
    }
  }

  async function take(limits: Settings, steps: readonly Step[]): Promise<void> {
    const run = new Run(limits);
    for (const action of steps) await run.take(action);
    await run.end();
  }

  it("computes what a plain decoder computes, whatever many chats do at once", async () => {
    await holds(
      fc.asyncProperty(settings, fc.array(step, { maxLength: 25, size: "max" }), take),
      120,
    );
  });
});
