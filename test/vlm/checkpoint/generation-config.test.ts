import { describe, expect, it } from "vitest";
import { parseGenerationConfig } from "../../../src/vlm/checkpoint/generation-config.ts";

const WHERE = "generation_config.json";

describe("parseGenerationConfig", () => {
  it("reads the published Instruct file", () => {
    const json = {
      bos_token_id: 151643,
      pad_token_id: 151643,
      do_sample: true,
      eos_token_id: [151645, 151643],
      top_p: 0.8,
      top_k: 20,
      temperature: 0.7,
      repetition_penalty: 1.0,
    };
    expect(parseGenerationConfig(json, WHERE, { eosTokenIds: [151645] })).toEqual({
      doSample: true,
      temperature: 0.7,
      topP: 0.8,
      topK: 20,
      minP: 0,
      repetitionPenalty: 1,
      eosTokenIds: [151645, 151643],
    });
  });

  it("falls back to the vendor's recommendation for the kind of checkpoint", () => {
    const instruct = parseGenerationConfig(undefined, WHERE, { eosTokenIds: [151645] });
    expect(instruct).toMatchObject({ temperature: 0.7, topP: 0.8, topK: 20, doSample: true });
    const thinking = parseGenerationConfig({}, WHERE, { thinking: true, eosTokenIds: [151645] });
    expect(thinking).toMatchObject({ temperature: 1, topP: 0.95, topK: 20 });
  });

  it("stops at both published tokens when no file says where, at the model's own otherwise", () => {
    const stops = (eosTokenIds: number[]) =>
      parseGenerationConfig(undefined, WHERE, { eosTokenIds }).eosTokenIds;
    expect(stops([])).toEqual([151645, 151643]);
    expect(stops([151645])).toEqual([151645, 151643]);
    expect(stops([255])).toEqual([255]);
  });

  it("takes one stop token or a list", () => {
    const stops = (eos: unknown) =>
      parseGenerationConfig({ eos_token_id: eos }, WHERE, { eosTokenIds: [] }).eosTokenIds;
    expect(stops(7)).toEqual([7]);
    expect(stops([7, 8])).toEqual([7, 8]);
  });

  it("knows other spellings of off and of greedy", () => {
    const parse = (json: object) => parseGenerationConfig(json, WHERE, { eosTokenIds: [] });
    expect(parse({ top_k: -1 }).topK).toBe(0);
    expect(parse({ do_sample: true, top_p: 0 })).toMatchObject({ doSample: false, topP: 0.8 });
    expect(parse({ do_sample: 1 }).doSample).toBe(true);
    expect(parse({ do_sample: 0 }).doSample).toBe(false);
  });

  it.each([
    [{ temperature: -1 }, "temperature", { temperature: 0.7 }],
    [{ temperature: 101 }, "temperature", { temperature: 0.7 }],
    [{ top_p: -0.5 }, "a number > 0 and <= 1", { topP: 0.8 }],
    [{ top_p: "0.9" }, "top_p", { topP: 0.8 }],
    [{ top_k: 1.5 }, "an integer >= 0", { topK: 20 }],
    [{ top_k: -2 }, "top_k", { topK: 20 }],
    [{ min_p: 2 }, "min_p", { minP: 0 }],
    [{ repetition_penalty: 0 }, "repetition_penalty", { repetitionPenalty: 1 }],
    [{ eos_token_id: ["x"] }, "eos_token_id", { eosTokenIds: [151645, 151643] }],
    [{ eos_token_id: ["x", 7] }, "eos_token_id", { eosTokenIds: [7] }],
    [{ do_sample: "maybe" }, "do_sample", { doSample: true }],
    [[], "not a JSON object", { temperature: 0.7 }],
  ])("uses the usual value for %j, and says so once", (json, words, expected) => {
    const told: string[] = [];
    const assume = (sentence: string) => told.push(sentence);
    const defaults = parseGenerationConfig(json, WHERE, { eosTokenIds: [], assume });
    expect(defaults).toMatchObject(expected);
    expect(told).toEqual([expect.stringContaining(words)]);
  });
});
