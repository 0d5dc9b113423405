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

  it.each([
    [{ temperature: -1 }, "temperature"],
    [{ top_p: 0 }, "a number > 0 and <= 1"],
    [{ top_k: 1.5 }, "an integer >= 0"],
    [{ min_p: 2 }, "min_p"],
    [{ repetition_penalty: 0 }, "repetition_penalty"],
    [{ eos_token_id: ["x"] }, "eos_token_id"],
    [{ do_sample: 1 }, "do_sample"],
  ])("refuses %j", (json, words) => {
    expect(() => parseGenerationConfig(json, WHERE, { eosTokenIds: [] })).toThrow(words);
  });
});
