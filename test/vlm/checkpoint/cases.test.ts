// Checkpoints that people really have: test/cases/checkpoints, each one change to the tiny chat model, and others of
// the same kinds. They load and answer like the original, or are refused in words that help.

import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { beforeAll, describe, expect, it } from "vitest";
import { isVlmError, ModelLoadError } from "../../../src/vlm/errors.ts";
import { loadQwen3Vl } from "../../../src/vlm/qwen3-vl.ts";
import { drawShapes } from "../../support/draw.ts";
import { type CheckpointPatch, patchedCheckpoint } from "../../support/patched-checkpoint.ts";
import { tempDir } from "../../support/temp-dir.ts";
import { loadTinyChat, userMessage } from "../../support/tiny-chat.ts";

const CASES = join(import.meta.dirname, "..", "..", "cases", "checkpoints");

interface Case extends CheckpointPatch {
  readonly about: string;
  readonly expect: {
    readonly outcome: "same" | "same-or-error" | "error";
    readonly names?: readonly string[];
    readonly warns?: readonly string[];
  };
}

/** Some of the given files describe what a message must say instead of quoting it. */
const WORDS: Readonly<Record<string, string>> = {
  "head_dim is missing (in any words)": "head_dim",
  "where to get it: the base model this one was trained from": "base model",
};

type Answers = readonly { text: string; finishReason: string }[];

interface Outcome {
  readonly answers?: Answers;
  readonly error?: ModelLoadError;
  readonly warnings: readonly string[];
}

let picture: Buffer;
let usual: Answers;
let parent: string;
let count = 0;

beforeAll(async () => {
  parent = await tempDir();
  picture = await drawShapes([{ shape: "circle", color: "red" }]);
  const model = await loadTinyChat();
  usual = await answersOf(model);
  await model.dispose();
});

async function answersOf(model: Awaited<ReturnType<typeof loadTinyChat>>): Promise<Answers> {
  const answers: { text: string; finishReason: string }[] = [];
  for (const question of ["图里有什么？", "What is in the picture?"]) {
    const messages = [userMessage(picture, question)];
    const request = { messages, temperature: 0, maxTokens: 64 };
    const { text, finishReason } = await model.generate(request);
    answers.push({ text, finishReason });
  }
  return answers;
}

/** Loads the patched checkpoint; when there is something to tell, again from the package made of it. */
async function outcomeOf(patch: CheckpointPatch, always = false): Promise<Outcome> {
  const dir = await patchedCheckpoint(join(parent, String(count++)), patch);
  const load = async (): Promise<Outcome> => {
    const warnings: string[] = [];
    try {
      const onWarning = (text: string) => warnings.push(text);
      const model = await loadQwen3Vl({ model: dir, precision: "fp32", onWarning });
      const answers = await answersOf(model);
      await model.dispose();
      return { answers, warnings };
    } catch (error) {
      if (!isVlmError(error) || !(error instanceof ModelLoadError)) throw error;
      return { error, warnings };
    }
  };
  const first = await load();
  const again = first.answers !== undefined && (always || first.warnings.length > 0);
  if (again) expect(await load()).toEqual(first);
  return first;
}

/** It answers like the original, with at most one warning, which says all of `warns`. */
async function expectSame(patch: CheckpointPatch, ...warns: string[]): Promise<void> {
  const { answers, error, warnings } = await outcomeOf(patch);
  expect(error).toBeUndefined();
  expect(answers).toEqual(usual);
  expect(warnings).toHaveLength(warns.length === 0 ? 0 : 1);
  for (const words of warns) expect(warnings[0]).toContain(words);
}

async function expectRefused(patch: CheckpointPatch, ...words: string[]): Promise<void> {
  const { error } = await outcomeOf(patch);
  for (const word of words) expect(error?.message.toLowerCase()).toContain(word.toLowerCase());
}

describe("the given cases", async () => {
  const files = (await readdir(CASES)).filter((file) => file.endsWith(".json"));
  it.each(files)("%s", async (file) => {
    const given = JSON.parse(await readFile(join(CASES, file), "utf8")) as Case;
    const { outcome, names = [], warns = [] } = given.expect;
    const { answers, error, warnings } = await outcomeOf(given, true);
    if (outcome === "error" || (outcome === "same-or-error" && error !== undefined)) {
      expect(error).toBeInstanceOf(ModelLoadError);
      const message = error?.message.toLowerCase() ?? "";
      for (const name of names) expect(message).toContain((WORDS[name] ?? name).toLowerCase());
      return;
    }
    expect(answers).toEqual(usual);
    expect(answers?.every(({ finishReason }) => finishReason === "stop")).toBe(true);
    for (const words of warns) expect(warnings.join("\n")).toContain(words);
    if (outcome === "same") expect(warnings).toHaveLength(warns.length > 0 ? 1 : 0);
  });
});

describe("settings of other tools", () => {
  const text = (fields: NonNullable<CheckpointPatch["patch"]>[string]) => ({
    patch: { "config.json": { text_config: fields } },
  });

  it("ignores stale quantisation settings wherever and however they stand", async () => {
    await expectSame(
      text({ quantization_config: { quant_method: "awq", bits: 4 } }),
      "quantization_config",
      "awq",
      "BF16",
    );
    const odd = { patch: { "config.json": { quantization_config: "none" } } };
    await expectSame(odd, "quantization_config");
  });

  it("stops at <|im_end|> whatever is named, even nonsense", async () => {
    await expectSame(
      {
        patch: {
          "generation_config.json": { eos_token_id: ["x", -3] },
          "config.json": { text_config: { eos_token_id: 151645 } },
          "tokenizer_config.json": { eos_token: "<|endoftext|>" },
        },
      },
      "eos_token_id",
      "151645",
    );
  });

  it("takes sampling defaults of no use for what they are", async () => {
    const { answers, warnings } = await outcomeOf({
      patch: {
        "generation_config.json": {
          do_sample: true,
          temperature: -1,
          top_p: 80,
          top_k: 1.5,
          min_p: "0",
          repetition_penalty: 0,
        },
      },
    });
    expect(answers).toEqual(usual);
    expect(warnings).toHaveLength(1);
    for (const name of ["temperature", "top_p", "top_k", "min_p", "repetition_penalty"]) {
      expect(warnings[0]).toContain(`Expected ${name} of generation_config.json`);
    }
  });

  it("does without a generation_config.json that is no JSON", async () => {
    const files = { "generation_config.json": '{"temperature": NaN}' };
    await expectSame({ remove: ["generation_config.json"], files }, "not valid JSON");
  });

  it("reads rope settings under either name in either place", async () => {
    const section = { mrope_section: [6, 5, 5] };
    const none = { rope_theta: null, rope_scaling: null };
    const parameters = { rope_type: "default", rope_theta: 10000, ...section };
    await expectSame(text({ ...none, rope_parameters: parameters }));
    await expectSame({
      patch: { "config.json": { rope_parameters: parameters, text_config: none } },
    });
    await expectSame(text({ ...none, rope_scaling: { type: "mrope", ...parameters } }));
    await expectSame(
      { patch: { "config.json": { rope_theta: 5000000 } } },
      "rope_theta",
      "5000000",
    );
  });

  it("says what is missing where no place has it", async () => {
    await expectRefused(
      text({ rope_scaling: null }),
      "rope_scaling",
      "mrope_section",
      "base model",
    );
    await expectRefused(text({ head_dim: 64 }), "head_dim", "32", "got `64`");
    await expectRefused(
      { patch: { "config.json": { rope_scaling: { type: "linear" } } } },
      "linear",
    );
  });

  it("believes the table where vocab_size does not fit it", async () => {
    await expectSame(text({ vocab_size: 1700 }), "vocab_size", "1700", "1728");
  });
});

describe("weights of other tools", () => {
  const prefixed = (prefix: string) => ({ rename: (name: string) => prefix + name });

  it.each([
    ["PEFT", prefixed("base_model.model.")],
    ["DDP", prefixed("module.")],
    ["torch.compile", prefixed("_orig_mod.")],
    ["both", prefixed("module._orig_mod.base_model.model.")],
    ["a value head's model", prefixed("pretrained_model.")],
    [
      "activation checkpointing",
      {
        rename: (n: string) =>
          n.replace(/(layers|blocks)\.(\d+)\./, "$1.$2._checkpoint_wrapped_module."),
      },
    ],
    [
      "old saves",
      {
        rename: (n: string) =>
          n.replace("model.language_model.", "model.").replace("model.visual.", "visual."),
      },
    ],
    [
      "transformers 4.52",
      { rename: (n: string) => n.replace("model.language_model.", "language_model.model.") },
    ],
    [
      "nested models",
      { rename: (n: string) => n.replace("model.language_model.", "model.language_model.model.") },
    ],
  ])("reads the names of %s", async (_, patch) => {
    await expectSame(patch);
  });

  const head = { name: "lm_head.weight", dtype: "BF16", shape: [1728, 160] };

  it("takes a stored head for the embedding when only that is there", async () => {
    const rename = (name: string) => name.replace("model.language_model.embed_tokens", "lm_head");
    await expectSame({ rename }, "lm_head.weight", "embedding table");
  });

  it("leaves out a head that tied embeddings have no use for, and says so if it is another", async () => {
    await expectSame({ addTensors: [head] }, "lm_head.weight", "tie_word_embeddings");
  });

  it("refuses what cannot be told", async () => {
    const flags = { tie_word_embeddings: false, text_config: { tie_word_embeddings: false } };
    const denied = { patch: { "config.json": flags } };
    await expectRefused(denied, "tie_word_embeddings", "lm_head.weight", "base model");
    const nowhere = { tie_word_embeddings: null, text_config: { tie_word_embeddings: null } };
    const promised = {
      patch: { "config.json": nowhere },
      shards: { count: 2, alsoNames: ["lm_head.weight"] },
    };
    await expectRefused(promised, "tie_word_embeddings", "lm_head.weight");
    const mlp = { rename: (name: string) => (name.includes("layers.4.mlp.up") ? undefined : name) };
    await expectRefused(mlp, "layers.4.mlp.up_proj.weight", "base model");
    const layer = { name: "model.language_model.layers.5.mlp.up_proj.weight", dtype: "BF16" };
    await expectRefused({ addTensors: [{ ...layer, shape: [448, 160] }] }, "layers.5.mlp.up_proj");
  });

  it.each([
    "base_model.model.model.language_model.layers.0.self_attn.q_proj.base_layer.weight",
    "model.language_model.layers.0.mlp.up_proj.lora_magnitude_vector.default.weight",
    "base_model.model.lm_head.modules_to_save.default.weight",
  ])("refuses the unmerged %s", async (name) => {
    await expectRefused({ addTensors: [{ name, dtype: "BF16", shape: [8, 160] }] }, "merge", name);
  });

  it("leaves out heads of other tasks, with one warning", async () => {
    const names = [
      "classifier.weight",
      "value_head.0.bias",
      "custom_text_proj.weight",
      "mtp.norm.weight",
    ];
    const addTensors = names.map((name) => ({ name, dtype: "BF16", shape: [160] }));
    await expectSame({ addTensors }, ...names);
  });

  it("ignores buffers", async () => {
    await expectSame({
      addTensors: [
        {
          name: "model.language_model.layers.0.self_attn.rotary_emb.inv_freq",
          dtype: "F32",
          shape: [16],
        },
        { name: "model.visual.position_ids", dtype: "I64", shape: [1, 4] },
      ],
    });
  });

  it.each([
    ["qweight", "I32", "gptq"],
    ["weight_packed", "I32", "compressed-tensors"],
    ["weight_scale_inv", "F32", "fp8"],
    ["SCB", "F32", "bitsandbytes"],
  ])(
    "knows weights quantised for good by %s, without any settings",
    async (ending, dtype, method) => {
      const name = `model.language_model.layers.0.mlp.up_proj.${ending}`;
      await expectRefused(
        { addTensors: [{ name, dtype, shape: [4, 4] }] },
        "quantised already",
        method,
        name,
      );
    },
  );

  it("reads numbered shards without their index, and says so", async () => {
    const shards = { count: 3, withoutIndex: true };
    await expectSame({ shards }, "model.safetensors.index.json");
  });

  it("names what lies beside the weights and is not used", async () => {
    await expectSame({ files: { "adapter_model.safetensors": "" } }, "adapter_model.safetensors");
    const stale = { files: { "model-00001-of-00002.safetensors": "" } };
    await expectSame(stale, "model-00001-of-00002.safetensors");
  });
});

describe("directories that hold no model", () => {
  it.each([
    ["genai_config.json", "ONNX graphs that another program made"],
    ["adapter_model.safetensors", "convert its base model with this directory as adapter"],
    ["pytorch_model.bin", "pickled"],
    ["Qwen3VL-2B-Q4_K_M.gguf", "GGUF"],
    ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"],
  ])("says what to do with %s", async (file, words) => {
    await expectRefused({ withoutWeights: true, files: { [file]: "" } }, words);
  });

  it("wants the image part of processor_config.json when it is the only processor file", async () => {
    const remove = ["preprocessor_config.json"];
    const files = { "processor_config.json": '{"processor_class": "Qwen3VLProcessor"}' };
    await expectRefused({ remove, files }, "preprocessor_config.json", "base model");
  });
});
