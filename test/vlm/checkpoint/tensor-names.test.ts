import { describe, expect, it } from "vitest";
import { parseConfig } from "../../../src/vlm/checkpoint/config.ts";
import type { StoredTensor } from "../../../src/vlm/checkpoint/safetensors.ts";
import {
  canonicalName,
  expectedTensors,
  resolveTensors,
} from "../../../src/vlm/checkpoint/tensor-names.ts";
import { CONFIG_2B, CONFIG_SMALL } from "../../support/synthetic-checkpoint.ts";

const config = parseConfig(CONFIG_SMALL, "config.json");
const untied = parseConfig({ ...CONFIG_SMALL, tie_word_embeddings: false }, "config.json");

const stored = (name: string, shape: readonly number[], dtype = "BF16"): StoredTensor => ({
  name,
  shape,
  dtype,
  file: "model.safetensors",
  offset: 0,
  byteLength: 0,
});

/** What a sound checkpoint holds, some of it changed. */
function holding(change: (tensor: StoredTensor) => StoredTensor | undefined = (tensor) => tensor) {
  return expectedTensors(config).flatMap(({ name, shape }) => change(stored(name, shape)) ?? []);
}

describe("canonicalName", () => {
  it.each([
    ["model.visual.merger.norm.bias", "model.visual.merger.norm.bias"],
    ["visual.blocks.0.norm1.weight", "model.visual.blocks.0.norm1.weight"],
    ["model.language_model.norm.weight", "model.language_model.norm.weight"],
    ["language_model.model.norm.weight", "model.language_model.norm.weight"],
    ["model.layers.3.mlp.up_proj.weight", "model.language_model.layers.3.mlp.up_proj.weight"],
    ["model.embed_tokens.weight", "model.language_model.embed_tokens.weight"],
    ["model.norm.weight", "model.language_model.norm.weight"],
    ["lm_head.weight", "lm_head.weight"],
    ["language_model.lm_head.weight", "lm_head.weight"],
    ["model.lm_head.weight", "lm_head.weight"],
    ["base_model.model.model.visual.pos_embed.weight", "model.visual.pos_embed.weight"],
    ["base_model.model.lm_head.weight", "lm_head.weight"],
    ["something.else", "something.else"],
  ])("calls %s %s", (name, canonical) => {
    expect(canonicalName(name)).toBe(canonical);
  });
});

describe("expectedTensors", () => {
  it("counts what the published checkpoints hold", () => {
    expect(expectedTensors(parseConfig(CONFIG_2B, "config.json"))).toHaveLength(625);
    const config8b = {
      ...CONFIG_2B,
      tie_word_embeddings: false,
      text_config: {
        ...CONFIG_2B.text_config,
        hidden_size: 4096,
        intermediate_size: 12288,
        num_hidden_layers: 36,
        num_attention_heads: 32,
      },
      vision_config: {
        ...CONFIG_2B.vision_config,
        depth: 27,
        hidden_size: 1152,
        intermediate_size: 4304,
        out_hidden_size: 4096,
        deepstack_visual_indexes: [8, 16, 24],
      },
    };
    const specs = expectedTensors(parseConfig(config8b, "config.json"));
    expect(specs).toHaveLength(750);
    const parameters = specs.reduce(
      (sum, { shape }) => sum + shape.reduce((product, size) => product * size, 1),
      0,
    );
    expect(Math.round(parameters / 1e6)).toBe(8767);
  });
});

describe("resolveTensors", () => {
  it("gives every tensor its canonical name, whatever it is called in the file", () => {
    const renamed = holding((tensor) => ({
      ...tensor,
      name: `base_model.model.${tensor.name.replace("model.language_model.", "language_model.model.")}`,
    }));
    const resolved = resolveTensors(config, renamed);
    expect([...resolved.keys()]).toEqual(expectedTensors(config).map(({ name }) => name));
  });

  it("names missing tensors, in the sentence and as a field", () => {
    const without = holding((t) => (t.name.endsWith("q_norm.weight") ? undefined : t));
    expect(() => resolveTensors(config, without)).toThrow(
      expect.objectContaining({
        message: expect.stringContaining("lacks 2 of the") as string,
        missing: [0, 1].map((l) => `model.language_model.layers.${l}.self_attn.q_norm.weight`),
      }),
    );
  });

  it("names unexpected tensors", () => {
    const more = [...holding(), stored("model.visual.blocks.99.norm1.weight", [24])];
    expect(() => resolveTensors(config, more)).toThrow("blocks.99.norm1.weight");
  });

  it("names shapes that disagree with config.json", () => {
    const odd = holding((t) =>
      t.name.endsWith("embed_tokens.weight") ? { ...t, shape: [99, 40] } : t,
    );
    expect(() => resolveTensors(config, odd)).toThrow(
      "model.language_model.embed_tokens.weight is [99, 40] and should be [100, 40]",
    );
    const flat = holding((t) => (t.name.endsWith("norm.weight") ? { ...t, shape: [] } : t));
    expect(() => resolveTensors(config, flat)).toThrow("and 4 more.");
  });

  it("wants the head of an untied checkpoint and forgives one in a tied checkpoint", () => {
    expect(() => resolveTensors(untied, holding())).toThrow("lm_head.weight");
    const withHead = [...holding(), stored("lm_head.weight", [100, 40])];
    expect(resolveTensors(untied, withHead).has("lm_head.weight")).toBe(true);
    expect(resolveTensors(config, withHead).has("lm_head.weight")).toBe(false);
  });

  it("refuses one tensor under two names", () => {
    const twice = [...holding(), stored("visual.pos_embed.weight", [16, 24])];
    expect(() => resolveTensors(config, twice)).toThrow("model.visual.pos_embed.weight twice");
  });

  it("refuses FP8 and other formats, and ignores stored rotary frequencies", () => {
    const fp8 = holding((t) => ({ ...t, dtype: "F8_E4M3" }));
    expect(() => resolveTensors(config, fp8)).toThrow("This is an FP8 checkpoint");
    const scales = [
      ...holding(),
      stored("model.visual.blocks.0.attn.qkv.weight_scale_inv", [1, 1]),
    ];
    expect(() => resolveTensors(config, scales)).toThrow("This is an FP8 checkpoint");
    const wide = holding((t) => ({ ...t, dtype: "F64" }));
    expect(() => resolveTensors(config, wide)).toThrow("only BF16, F16, F32 can be read");
    const rotary = [...holding(), stored("model.language_model.rotary_emb.inv_freq", [8], "F32")];
    expect(resolveTensors(config, rotary).size).toBe(expectedTensors(config).length);
  });
});
