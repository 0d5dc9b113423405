import { describe, expect, it } from "vitest";
import { Lookup, Speculation } from "../../../src/vlm/engine/draft.ts";
import { Engine } from "../../../src/vlm/engine/engine.ts";
import { FeatureCache } from "../../../src/vlm/engine/feature-cache.ts";
import { PrefixCache } from "../../../src/vlm/engine/prefix-cache.ts";
import { Random } from "../../../src/vlm/engine/random.ts";
import { Sampler } from "../../../src/vlm/engine/sampler.ts";
import type { TokenReader } from "../../../src/vlm/engine/sequence.ts";
import { TokenContent } from "../../../src/vlm/engine/token-content.ts";
import { FakeDecoder } from "../../support/fake-decoder.ts";
import { promptOf, sequenceOf } from "../../support/golden-engine.ts";

const content = (...ids: number[]) => new TokenContent(Int32Array.from(ids));

describe("Lookup", () => {
  it("finds what followed the same three tokens last, or the same two", () => {
    const lookup = new Lookup();
    const said = content(1, 2, 3, 4, 5, 1, 2, 3, 6, 7, 1, 2);
    expect(lookup.next(said, 3, 7)).toEqual([6, 7, 1, 2]);
    expect(lookup.next(said, 3, 1)).toEqual([6]);
    expect(new Lookup().next(content(8, 2, 3, 4, 9, 2), 3, 7)).toEqual([4, 9, 2]);
    expect(lookup.next(said, 9, 7)).toEqual([]);
  });

  it("goes on from what was added", () => {
    const lookup = new Lookup();
    const said = content(1, 2);
    expect(lookup.next(said, 3, 7)).toEqual([]);
    for (const id of [3, 4, 1, 2]) said.push(id);
    expect(lookup.next(said, 3, 2)).toEqual([4, 1]);
  });

  it("has nothing to say about the shortest contents", () => {
    expect(new Lookup().next(content(), 3, 7)).toEqual([]);
    expect(new Lookup().next(content(3), 3, 7)).toEqual([]);
  });
});

describe("Speculation", () => {
  const said = () => content(...Array.from({ length: 40 }, (_, i) => i % 10));

  it("guesses more where rows are cheap, and not where they cost as much as steps", () => {
    const guesses = (costOfRow: number) => {
      const speculation = new Speculation();
      for (let rows = 1; rows <= 8; rows++) speculation.ran(rows, 100 + costOfRow * (rows - 1));
      return speculation.draft(said(), 0, 100).length;
    };
    expect(guesses(0)).toBe(7);
    expect(guesses(20)).toBeGreaterThan(0);
    expect(guesses(20)).toBeLessThan(7);
    expect(guesses(100)).toBe(0);
  });

  it("goes by what a row is expected to cost until runs were measured", () => {
    const guesses = (costOfRow?: number) => new Speculation(costOfRow).draft(said(), 0, 100).length;
    expect(guesses(0)).toBe(7);
    expect(guesses()).toBeGreaterThan(0);
    expect(guesses(1)).toBe(0);
    const measured = new Speculation(1);
    for (const rows of [1, 8]) measured.ran(rows, 100);
    expect(measured.draft(said(), 0, 100)).toHaveLength(7);
  });

  it("stops when guesses are wrong, and tries again later", () => {
    const speculation = new Speculation();
    for (const [rows, ms] of [
      [1, 100],
      [4, 160],
      [8, 240],
    ] as const) {
      speculation.ran(rows, ms);
    }
    const answer = said();
    let tries = 0;
    while (speculation.draft(answer, 0, 100).length > 0 && tries < 50) {
      speculation.checked(answer, 3, 0);
      tries++;
    }
    expect(tries).toBeLessThan(10);
    let waited = 0;
    while (speculation.draft(answer, 0, 100).length === 0 && waited < 1000) waited++;
    expect(waited).toBeGreaterThan(5);
    expect(waited).toBeLessThan(1000);
  });

  it("never guesses beyond the room there is", () => {
    const speculation = new Speculation();
    expect(speculation.draft(said(), 0, 2).length).toBeLessThanOrEqual(2);
    expect(speculation.draft(said(), 0, 0)).toEqual([]);
  });
});

describe("writing with guesses", () => {
  const VOCAB = 12;

  /** A "model" of which every next token depends on the last two, with a few likely ones. */
  class MarkovDecoder extends FakeDecoder {
    override scoresAfter(ids: readonly number[]): Float32Array {
      const random = new Random(13 * (ids.at(-1) ?? 0) + 7 * (ids.at(-2) ?? 0));
      return Float32Array.from({ length: VOCAB }, () => 4 * random.next());
    }
  }

  /** Samples as an answer does, for a number of tokens. */
  class Sampled implements TokenReader {
    readonly tokens: number[] = [];
    readonly #sampler: Sampler;
    readonly #length: number;

    constructor(temperature: number, seed: number, length: number) {
      const plain = {
        topP: 0.95,
        topK: 0,
        minP: 0,
        repetitionPenalty: 1.1,
        presencePenalty: 0.2,
        frequencyPenalty: 0,
      };
      this.#sampler = new Sampler({ ...plain, temperature, seed }, VOCAB, [1, 2, 3]);
      this.#length = length;
    }

    take(scores: Float32Array): number | undefined {
      const id = this.#sampler.sample(scores);
      this.#sampler.accept(id);
      this.tokens.push(id);
      return this.tokens.length < this.#length ? id : undefined;
    }
  }

  async function write(temperature: number, seed: number, speculation?: Speculation) {
    const decoder = new MarkovDecoder({ capacity: 160 });
    const engine = new Engine({
      decoder,
      slots: decoder,
      visionEncoder: { encode: () => Promise.reject(new Error("no pictures here")) },
      features: new FeatureCache(0),
      prefixes: new PrefixCache({ maxBytes: 0 }),
      speculation,
      maxQueue: 1,
      maxStallMs: 500,
      maxChunkTokens: 100,
    });
    const reader = new Sampled(temperature, seed, 150);
    await engine.run(sequenceOf(promptOf([[1, 2, 3]]), { reader }));
    return { tokens: reader.tokens, runs: decoder.runs.length };
  }

  it.each([0, 0.3, 1, 3])("says the same as without, at temperature %d", async (temperature) => {
    for (let seed = 1; seed <= 5; seed++) {
      const speculation = new Speculation();
      // Rows cost nothing: it guesses whenever it can.
      for (let rows = 1; rows <= 8; rows++) speculation.ran(rows, 0.001);
      Object.assign(speculation, { ran: () => {} });
      const [plain, guessed] = [
        await write(temperature, seed),
        await write(temperature, seed, speculation),
      ];
      expect(guessed.tokens).toEqual(plain.tokens);
      if (temperature < 1) expect(guessed.runs).toBeLessThan(plain.runs);
    }
  });
});
