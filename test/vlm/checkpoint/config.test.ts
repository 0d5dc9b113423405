import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { parseConfig } from "../../../src/vlm/checkpoint/config.ts";
import { ModelLoadError } from "../../../src/vlm/errors.ts";
import { TINY_CHAT } from "../../support/golden-checkpoint.ts";
import { CONFIG_2B } from "../../support/synthetic-checkpoint.ts";

type Json = Record<string, unknown>;

interface Changes {
  readonly top?: Json;
  readonly text?: Json;
  readonly vision?: Json;
}

/** The 2B's config.json with some fields changed; `undefined` removes one. */
function config2b(changes: Changes): Json {
  return {
    ...CONFIG_2B,
    ...changes.top,
    text_config: { ...CONFIG_2B.text_config, ...changes.text },
    vision_config: { ...CONFIG_2B.vision_config, ...changes.vision },
  };
}

function failure(json: unknown): ModelLoadError {
  try {
    parseConfig(json, "config.json");
  } catch (error) {
    if (error instanceof ModelLoadError) return error;
    throw error;
  }
  throw new Error("Expected the configuration to be refused.");
}

describe("parseConfig", () => {
  it("reads the 4.57 spelling", () => {
    const config = parseConfig(config2b({}), "config.json");
    expect(config.text).toEqual({
      vocabSize: 151936,
      hiddenSize: 2048,
      intermediateSize: 6144,
      layers: 28,
      heads: 16,
      kvHeads: 8,
      headSize: 128,
      rmsNormEps: 1e-6,
      ropeTheta: 5e6,
      mropeSection: [24, 20, 20],
      maxPositionEmbeddings: 262144,
      eosTokenIds: [151645],
    });
    expect(config.vision).toEqual({
      depth: 24,
      hiddenSize: 1024,
      intermediateSize: 4096,
      heads: 16,
      headSize: 64,
      patchSize: 16,
      temporalPatchSize: 2,
      mergeSize: 2,
      inChannels: 3,
      outHiddenSize: 2048,
      positionGridSize: 48,
      deepstackLayers: [5, 11, 17],
      ropeTheta: 10000,
    });
    expect(config.tiedEmbeddings).toBe(true);
    expect(config.imageTokenId).toBe(151655);
    expect(config.visionEndTokenId).toBe(151653);
  });

  it("reads the 5.x spelling to the same result", () => {
    const fiveX = config2b({
      text: {
        rope_theta: undefined,
        rope_scaling: undefined,
        rope_parameters: {
          rope_type: "default",
          rope_theta: 5000000,
          mrope_section: [24, 20, 20],
          mrope_interleaved: true,
        },
      },
      vision: {
        model_type: "qwen3_vl_vision",
        rope_parameters: { rope_type: "axial", rope_theta: 10000 },
      },
    });
    expect(parseConfig(fiveX, "config.json")).toEqual(parseConfig(config2b({}), "config.json"));
  });

  it("reads the tiny chat model, whose base and position table differ", async () => {
    const json = JSON.parse(await readFile(join(TINY_CHAT, "config.json"), "utf8")) as unknown;
    const config = parseConfig(json, "config.json");
    expect(config.text.ropeTheta).toBe(10000);
    expect(config.vision.positionGridSize).toBe(16);
  });

  it("falls back to the class defaults of 4.57, `null` counting as absent", () => {
    const json = config2b({
      text: { rope_theta: null, rope_scaling: null, head_dim: undefined, rms_norm_eps: undefined },
    });
    const { text } = parseConfig(json, "config.json");
    expect(text.ropeTheta).toBe(5e6);
    expect(text.mropeSection).toEqual([24, 20, 20]);
    expect(text.headSize).toBe(128);
    expect(text.rmsNormEps).toBe(1e-6);
  });

  it.each([
    [{ top: { tie_word_embeddings: false }, text: { tie_word_embeddings: true } }, false],
    [{ top: { tie_word_embeddings: undefined }, text: { tie_word_embeddings: true } }, true],
    [{ top: { tie_word_embeddings: undefined } }, false],
  ])("lets the top level decide about tied embeddings: %j", (changes, tied) => {
    expect(parseConfig(config2b(changes), "config.json").tiedEmbeddings).toBe(tied);
  });

  it.each([
    [{ top: { model_type: "qwen3_vl_moe" } }, "mixture-of-experts"],
    [{ text: { model_type: "qwen3_vl_moe_text" } }, "mixture-of-experts"],
    [{ top: { model_type: "qwen2_5_vl" } }, "qwen2_5_vl"],
    [{ top: { quantization_config: { quant_method: "fp8" } } }, "quantised already (fp8)"],
    [{ text: { quantization_config: { quant_method: "awq" } } }, "quantised already (awq)"],
    [{ text: { rope_scaling: { rope_type: "yarn" } } }, "rope type yarn"],
    [{ text: { hidden_act: "gelu" } }, "hidden_act gelu"],
    [{ text: { attention_bias: true } }, "attention_bias"],
    [{ vision: { hidden_act: "silu" } }, "vision_config of config.json has hidden_act silu"],
  ])("refuses what cannot run: %j", (changes, sentence) => {
    const error = failure(config2b(changes));
    expect(error.code).toBe("model-unsupported");
    expect(error.message).toContain(sentence);
  });

  it.each([
    [
      { text: { hidden_size: 0 } },
      "Expected text_config.hidden_size of config.json to be an integer >= 1, got `0` (number).",
    ],
    [{ text: { hidden_size: "2048" } }, 'got `"2048"` (string)'],
    [
      { text: { num_hidden_layers: undefined } },
      "Expected text_config.num_hidden_layers of config.json to be an integer >= 1, got nothing.",
    ],
    [{ text: { num_key_value_heads: 3 } }, "a divisor of num_attention_heads (16)"],
    [
      { text: { rope_scaling: { mrope_section: [24, 20] } } },
      "three integers, got `[24,20]` (list)",
    ],
    [
      { text: { rope_scaling: { mrope_section: [24, 20, 21] } } },
      "add up to half of head_dim (64)",
    ],
    [{ vision: { num_position_embeddings: 2305 } }, "a square number"],
    [{ vision: { out_hidden_size: 1024 } }, "the decoder's hidden_size (2048)"],
    [{ vision: { num_heads: 7 } }, "heads of a multiple of 4"],
    [{ vision: { deepstack_visual_indexes: [5, 24] } }, "<= 23"],
    [{ vision: { deepstack_visual_indexes: [11, 5] } }, "ascending block numbers"],
    [{ vision: { deepstack_visual_indexes: [] } }, "ascending block numbers"],
    [{ top: { image_token_id: 151936 } }, "<= 151935"],
    [{ top: { tie_word_embeddings: "yes" } }, "true or false"],
  ])("says what is wrong with %j", (changes: Changes, sentence) => {
    const error = failure(config2b(changes));
    expect(error.code).toBe("model-corrupt");
    expect(error.message).toContain(sentence);
  });

  it("wants objects where objects belong", () => {
    const message = (json: unknown) => failure(json).message;
    expect(message([])).toContain("Expected config.json to be a JSON object");
    expect(message({ ...CONFIG_2B, vision_config: [] })).toContain(
      "Expected vision_config of config.json to be a JSON object",
    );
    expect(message({ model_type: "qwen3_vl" })).toContain("Expected text_config of config.json");
  });
});
